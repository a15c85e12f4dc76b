// Model files in memory: what must hold of them, their bytes, and reading one whole.
//
// Writing streams: the digests of the weights' chunks are made in a first pass over the pieces, the file is written in
// a second one. Compressed weights are made in the first pass and kept for the second. Deterministic: the order
// of the sections is fixed, maps are sorted, gaps between pieces are zeros.
#include "format/model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>

#include "base/checked.h"
#include "base/file.h"
#include "base/utf8.h"
#include "format/chunk_coding.h"
#include "format/codec.h"
#include "format/container.h"
#include "format/model_reader.h"
#include "format/weight_chunks.h"

namespace hai::format {
namespace {

constexpr int32_t kMaxPictureSide = 65536;
// Compression::kAuto: a chunk must save a tenth; floats, of which models have more to load, a fifth.
constexpr int64_t kLeastSavingDivisor = 10;
constexpr int64_t kLeastFloatSavingDivisor = 5;
constexpr int64_t kLeastSavingBytes = 4096;

using Sink = std::function<Status(std::span<const std::byte>)>;

Status write_zeros(int64_t count, const Sink& sink) {
  static constexpr std::array<std::byte, 4096> kZeros{};
  while (count > 0) {
    const auto part = static_cast<size_t>(std::min<int64_t>(count, static_cast<int64_t>(kZeros.size())));
    HAI_TRY_STATUS(sink(std::span(kZeros).first(part)));
    count -= static_cast<int64_t>(part);
  }
  return {};
}

Status write_weights(const ModelFile& model, const Sink& sink) {
  int64_t position = 0;
  for (const WeightPiece& piece : model.weights) {
    HAI_TRY_STATUS(write_zeros(piece.offset_bytes - position, sink));
    HAI_TRY_STATUS(sink(piece.bytes));
    position = piece.offset_bytes + static_cast<int64_t>(piece.bytes.size());
  }
  return {};
}

// Hands the weights to `use` chunk by chunk, gaps included.
Status for_each_chunk(const ModelFile& model, const Sink& use) {
  std::vector<std::byte> chunk;
  const auto collect = [&](std::span<const std::byte> bytes) -> Status {
    while (!bytes.empty()) {
      const size_t part = std::min(bytes.size(), static_cast<size_t>(kWeightChunkBytes) - chunk.size());
      if (chunk.empty() && part == static_cast<size_t>(kWeightChunkBytes)) {
        HAI_TRY_STATUS(use(bytes.first(part)));  // without a copy
      } else {
        chunk.insert(chunk.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(part));
        if (chunk.size() == static_cast<size_t>(kWeightChunkBytes)) {
          HAI_TRY_STATUS(use(chunk));
          chunk.clear();
        }
      }
      bytes = bytes.subspan(part);
    }
    return {};
  };
  HAI_TRY_STATUS(write_weights(model, collect));
  if (!chunk.empty()) HAI_TRY_STATUS(use(chunk));
  return {};
}

// SHA-256 of each chunk of the weights, one after the other.
std::vector<std::byte> weight_digests(const ModelFile& model) {
  std::vector<std::byte> digests;
  const Status status = for_each_chunk(model, [&](std::span<const std::byte> chunk) -> Status {
    const Sha256Digest digest = sha256(chunk);
    const auto* begin = reinterpret_cast<const std::byte*>(digest.data());
    digests.insert(digests.end(), begin, begin + digest.size());
    return {};
  });
  HAI_CHECK(status.has_value());
  return digests;
}

int64_t least_saving_divisor(ChunkCoding coding) {
  return coding == ChunkCoding::kDeflateOf4 ? kLeastFloatSavingDivisor : kLeastSavingDivisor;
}

// As the options ask: raw where it does not pay, and without trying where frequencies of bytes do not promise it.
CodedChunk coded_chunk(std::span<const std::byte> chunk, Compression compression) {
  if (compression == Compression::kAlways) return encode_chunk(chunk);
  const auto size = static_cast<int64_t>(chunk.size());
  const EstimatedCoding estimate = estimate_coding(chunk);
  // The estimate may be a little low: nine tenths of what is asked are worth a try.
  if (estimate.saved_bytes * least_saving_divisor(estimate.coding) * 10 < size * 9) return {};
  CodedChunk coded = encode_chunk(chunk);
  const int64_t saved = size - static_cast<int64_t>(coded.bytes.size());
  if (coded.coding != ChunkCoding::kRaw && saved * least_saving_divisor(coded.coding) < size) return {};
  return coded;
}

// The stored chunks and how they are stored; none where compression does not pay.
struct CompressedWeights {
  std::vector<std::byte> stored;
  std::vector<WeightChunk> chunks;
};
CompressedWeights compress_weights(const ModelFile& model, Compression compression) {
  CompressedWeights result;
  const int64_t size = model.weights_bytes();
  if (compression == Compression::kNever || size == 0) return result;
  const Status status = for_each_chunk(model, [&](std::span<const std::byte> chunk) -> Status {
    CodedChunk coded = coded_chunk(chunk, compression);
    const std::span<const std::byte> stored = coded.coding == ChunkCoding::kRaw ? chunk : std::span(coded.bytes);
    WeightChunk entry;
    entry.stored_bytes = static_cast<int64_t>(stored.size());
    entry.coding = coded.coding;
    entry.digest = sha256(stored);
    result.chunks.push_back(entry);
    result.stored.insert(result.stored.end(), stored.begin(), stored.end());
    return {};
  });
  HAI_CHECK(status.has_value());
  const int64_t saving = size - static_cast<int64_t>(result.stored.size());
  const bool pays = compression == Compression::kAlways
                        ? saving > 0
                        : saving >= size / kLeastSavingDivisor && saving >= kLeastSavingBytes;
  if (!pays || !is_plausible_expansion(static_cast<int64_t>(result.stored.size()), size)) return {};
  return result;
}

// The sections of a model in the order of the file; weights have no bytes here.
struct Layout {
  Container container;
  std::vector<std::vector<std::byte>> payloads;
};

void add_section(Layout& layout, SectionKind kind, bool required, std::string name, std::vector<std::byte> payload) {
  Section section;
  section.kind = static_cast<uint32_t>(kind);
  section.required = required;
  section.name = std::move(name);
  section.size_bytes = static_cast<int64_t>(payload.size());
  section.digest = sha256(payload);
  layout.container.sections.push_back(std::move(section));
  layout.payloads.push_back(std::move(payload));
}

// Weights last. The digest of their section is that of the section in front of it, which holds those of the chunks.
// Names of sections are what a reader without compression shows when it refuses them.
void add_weights(Layout& layout, const ModelFile& model, const WriteOptions& options) {
  CompressedWeights compressed = compress_weights(model, options.compression);
  Section weights;
  weights.required = true;
  if (compressed.chunks.empty()) {
    add_section(layout, SectionKind::kWeightDigests, true, "", weight_digests(model));
    weights.kind = static_cast<uint32_t>(SectionKind::kWeights);
    weights.size_bytes = model.weights_bytes();
    weights.alignment_bytes = kWeightSectionAlignmentBytes;
  } else {
    add_section(layout, SectionKind::kWeightChunks, true, "compressed_weights.chunks",
                encode_weight_chunks(model.weights_bytes(), compressed.chunks));
    weights.kind = static_cast<uint32_t>(SectionKind::kCompressedWeights);
    weights.name = "compressed_weights";
    weights.size_bytes = static_cast<int64_t>(compressed.stored.size());
  }
  weights.digest = layout.container.sections.back().digest;
  layout.container.sections.push_back(std::move(weights));
  layout.payloads.push_back(std::move(compressed.stored));
}

Result<Layout> lay_out(const ModelFile& model, const WriteOptions& options) {
  HAI_TRY_STATUS(verify_model(model));
  Layout layout;
  if (model.graph) add_section(layout, SectionKind::kGraph, true, "", encode_program(*model.graph));
  for (const Program& program : model.programs) {
    add_section(layout, SectionKind::kProgram, true, program.device, encode_program(program));
  }
  if (model.training) {
    add_section(layout, SectionKind::kTraining, false, model.training->device, encode_program(*model.training));
  }
  if (model.features) {
    add_section(layout, SectionKind::kFeatures, false, model.features->device, encode_program(*model.features));
  }
  if (model.standby) {
    add_section(layout, SectionKind::kStandby, false, model.standby->device, encode_program(*model.standby));
    add_section(layout, SectionKind::kObservers, false, model.observers->device, encode_program(*model.observers));
    add_section(layout, SectionKind::kRebuild, false, model.rebuild->device, encode_program(*model.rebuild));
  }
  if (model.preprocessing) {
    add_section(layout, SectionKind::kPreprocessing, false, "", encode_preprocessing(*model.preprocessing));
  }
  if (!model.quantization_report.empty()) {
    const auto text = std::as_bytes(std::span(model.quantization_report));
    add_section(layout, SectionKind::kReport, false, "", {text.begin(), text.end()});
  }
  if (!model.name.empty() || !model.metadata.empty()) {
    add_section(layout, SectionKind::kMetadata, false, "", encode_metadata({model.name, model.metadata}));
  }
  if (model.weights_bytes() > 0) add_weights(layout, model, options);
  for (const Section& section : layout.container.sections) {
    if (!section.is_weights() && section.size_bytes > kMaxStructuredSectionBytes) {
      return make_error(StatusCode::kOutOfRange, "F050", "section {} would have {} bytes; the limit is {}",
                        section_kind_name(section.kind), section.size_bytes, kMaxStructuredSectionBytes);
    }
  }
  if (layout.container.sections.size() > kMaxSections) {
    return make_error(StatusCode::kOutOfRange, "F051", "{} sections are above the limit of {}",
                      layout.container.sections.size(), kMaxSections);
  }
  return layout;
}

Status write_layout(const ModelFile& model, Layout& layout, const Sink& sink) {
  const std::vector<std::byte> head = encode_container(layout.container);
  HAI_TRY_STATUS(sink(head));
  auto position = static_cast<int64_t>(head.size());
  for (size_t i = 0; i < layout.container.sections.size(); ++i) {
    const Section& section = layout.container.sections[i];
    HAI_TRY_STATUS(write_zeros(section.offset_bytes - position, sink));
    if (section.is(SectionKind::kWeights)) {
      HAI_TRY_STATUS(write_weights(model, sink));
    } else {
      HAI_TRY_STATUS(sink(layout.payloads[i]));
    }
    position = section.offset_bytes + section.size_bytes;
  }
  return {};
}

Status verify_pieces(const ModelFile& model) {
  int64_t end = 0;
  for (size_t i = 0; i < model.weights.size(); ++i) {
    const WeightPiece& piece = model.weights[i];
    const auto next = checked_add(piece.offset_bytes, static_cast<int64_t>(piece.bytes.size()));
    if (piece.offset_bytes < end || !next || *next > kMaxFileBytes) {
      return make_error(StatusCode::kInvalidArgument, "F052",
                        "piece {} of the weights at {} of {} bytes overlaps the one before it or is out of range", i,
                        piece.offset_bytes, piece.bytes.size());
    }
    end = *next;
  }
  return {};
}

}  // namespace

Result<ModelFile> read_whole_model(const std::shared_ptr<const ModelReader>& reader) {
  HAI_TRY_STATUS(reader->verify_all());
  ModelFile model;
  model.name = reader->metadata().name;
  model.metadata = reader->metadata().entries;
  model.preprocessing = reader->preprocessing();
  model.quantization_report = reader->report();
  if (reader->has_graph()) {
    HAI_TRY(model.graph, reader->graph());
  }
  for (const std::string& device : reader->devices()) {
    HAI_TRY(Program program, reader->program(device));
    model.programs.push_back(std::move(program));
  }
  if (reader->has_training()) {
    HAI_TRY(model.training, reader->training());
  }
  if (reader->has_features()) {
    HAI_TRY(model.features, reader->features());
  }
  if (reader->has_rebuild()) {
    HAI_TRY(model.standby, reader->standby());
    HAI_TRY(model.observers, reader->observers());
    HAI_TRY(model.rebuild, reader->rebuild());
  }
  if (reader->weights_bytes() > 0) {
    // 64-byte blocks: constants are aligned inside the section, and so must its beginning be.
    struct alignas(64) Block {
      std::byte bytes[64];
    };
    const auto size = static_cast<size_t>(reader->weights_bytes());
    auto blocks = std::make_shared<std::vector<Block>>(size / sizeof(Block) + 1);
    const std::span<std::byte> bytes(reinterpret_cast<std::byte*>(blocks->data()), size);
    HAI_TRY_STATUS(WeightReader(reader).read(0, bytes));
    model.weights.push_back({0, bytes, std::move(blocks)});
  }
  return model;
}

int64_t ModelFile::weights_bytes() const {
  return weights.empty() ? 0 : weights.back().offset_bytes + static_cast<int64_t>(weights.back().bytes.size());
}

Status verify_preprocessing(const Preprocessing& preprocessing) {
  const auto is_side = [](int32_t side) { return side >= 1 && side <= kMaxPictureSide; };
  const bool short_side = preprocessing.resize_rule == ResizeRule::kShortSide;
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!is_side(preprocessing.width) || !is_side(preprocessing.height) ||
      (short_side ? !is_side(preprocessing.resize_size) : preprocessing.resize_size != 0)) {
    return make_error(StatusCode::kCorrupt, "F053", "preprocessing to {} x {} with resize size {}: sides are 1..{}",
                      preprocessing.width, preprocessing.height, preprocessing.resize_size, kMaxPictureSide);
  }
  if (preprocessing.color_order > ColorOrder::kGray || preprocessing.layout > PictureLayout::kNhwc ||
      preprocessing.resize_rule > ResizeRule::kLetterboxTopLeft ||
      preprocessing.interpolation > Interpolation::kBicubic) {
    return make_error(StatusCode::kUnsupported, "F054",
                      "preprocessing by a rule that this version does not know; update HAI");
  }
  if (!std::all_of(preprocessing.mean.begin(), preprocessing.mean.end(), finite) ||
      !std::all_of(preprocessing.scale.begin(), preprocessing.scale.end(), finite) ||
      !finite(preprocessing.pad_value)) {
    return make_error(StatusCode::kCorrupt, "F055", "preprocessing has a number that is not finite");
  }
  if (!is_utf8(preprocessing.input)) {
    return make_error(StatusCode::kCorrupt, "F072", "preprocessing for input '{}', a name that is not UTF-8",
                      preprocessing.input);
  }
  return {};
}

Status verify_metadata(const Metadata& metadata) {
  const auto not_text = [](std::string_view what, std::string_view text) {
    return make_error(StatusCode::kCorrupt, "F070", "the metadata: {} '{}' is not UTF-8", what, text);
  };
  if (!is_utf8(metadata.name)) return not_text("the network's name", metadata.name);
  for (const auto& [key, value] : metadata.entries) {
    if (!is_utf8(key)) return not_text("the key", key);
    if (!is_utf8(value)) return not_text("the value of " + key, value);
  }
  return {};
}

Status verify_quantization_report(std::string_view report) {
  if (is_utf8(report)) return {};
  return make_error(StatusCode::kCorrupt, "F071", "the quantization report is not UTF-8, and so no JSON");
}

// The three parts of a rebuild: together, and made for this model.
Status verify_rebuild(const ModelFile& model) {
  const bool whole = model.standby && model.observers && model.rebuild && !model.programs.empty();
  if (!whole && !model.standby && !model.observers && !model.rebuild) return {};
  if (!whole || model.rebuild->device != "rebuild" || model.standby->device != model.programs[0].device ||
      model.observers->device != model.programs[0].device) {
    return broken_rebuild("one of the three is missing, or is for another device");
  }
  for (const std::optional<Program>* part : {&model.standby, &model.observers, &model.rebuild})
    HAI_TRY_STATUS(verify_program(**part, model.weights_bytes()));
  HAI_TRY_STATUS(check_stateless(*model.standby));
  HAI_TRY_STATUS(check_stateless(*model.rebuild));
  return check_same_interface(model.programs[0], *model.standby);
}

Status verify_model(const ModelFile& model) {
  HAI_TRY_STATUS(verify_metadata({model.name, model.metadata}));
  HAI_TRY_STATUS(verify_quantization_report(model.quantization_report));
  HAI_TRY_STATUS(verify_pieces(model));
  if (!model.graph && model.programs.empty()) {
    return make_error(StatusCode::kInvalidArgument, "F056", "a model needs a graph or a program");
  }
  if (model.graph) {
    if (model.graph->device != "graph") {
      return make_error(StatusCode::kInvalidArgument, "F057", "the portable graph says it is for device '{}'",
                        model.graph->device);
    }
    HAI_TRY_STATUS(verify_program(*model.graph, model.weights_bytes()));
    HAI_TRY_STATUS(check_stateless(*model.graph));
  }
  for (size_t i = 0; i < model.programs.size(); ++i) {
    const Program& program = model.programs[i];
    const bool twice = std::any_of(model.programs.begin(), model.programs.begin() + static_cast<ptrdiff_t>(i),
                                   [&](const Program& other) { return other.device == program.device; });
    const bool named = std::all_of(program.device.begin(), program.device.end(),
                                   [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
    if (program.device == "graph" || twice || !named) {
      return make_error(StatusCode::kInvalidArgument, "F058",
                        "'{}' cannot name the device of a program, or names a second one", program.device);
    }
    HAI_TRY_STATUS(verify_program(program, model.weights_bytes()));
    HAI_TRY_STATUS(check_stateless(program));
    if (model.graph) HAI_TRY_STATUS(check_same_interface(*model.graph, program));
    if (i > 0) HAI_TRY_STATUS(check_same_interface(model.programs[0], program));
  }
  if (model.training) HAI_TRY_STATUS(verify_program(*model.training, model.weights_bytes()));
  if (model.features) {
    HAI_TRY_STATUS(verify_program(*model.features, model.weights_bytes()));
    HAI_TRY_STATUS(check_stateless(*model.features));
    HAI_TRY_STATUS(check_features(*model.features, model.training ? &*model.training : nullptr));
  }
  HAI_TRY_STATUS(verify_rebuild(model));
  if (model.preprocessing) HAI_TRY_STATUS(verify_preprocessing(*model.preprocessing));
  return {};
}

Result<std::vector<std::byte>> serialize(const ModelFile& model, const WriteOptions& options) {
  HAI_TRY(Layout layout, lay_out(model, options));
  std::vector<std::byte> bytes;
  HAI_TRY_STATUS(write_layout(model, layout, [&](std::span<const std::byte> part) -> Status {
    bytes.insert(bytes.end(), part.begin(), part.end());
    return {};
  }));
  return bytes;
}

Result<WrittenBytes> write_model_file(const std::string& path, const ModelFile& model, const WriteOptions& options) {
  HAI_TRY(Layout layout, lay_out(model, options));
  HAI_TRY(AtomicFileWriter writer, AtomicFileWriter::create(path));
  HAI_TRY_STATUS(write_layout(model, layout, [&](std::span<const std::byte> part) { return writer.write(part); }));
  HAI_TRY_STATUS(writer.commit());
  WrittenBytes written{layout.container.file_bytes, model.weights_bytes(), 0};
  for (const Section& section : layout.container.sections) {
    if (section.is_weights()) written.stored_weights_bytes = section.size_bytes;
  }
  return written;
}

Result<ModelFile> read_model_file(const std::string& path) {
  HAI_TRY(auto source, open_file(path));
  HAI_TRY(const auto reader, ModelReader::open(std::move(source), path));
  return read_whole_model(reader);
}

Result<ModelFile> parse_model(std::span<const std::byte> bytes) {
  HAI_TRY(const auto reader, ModelReader::open(memory_source(bytes), "model"));
  return read_whole_model(reader);
}

}  // namespace hai::format

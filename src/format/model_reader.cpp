// Opening a .hai file: container, digests, structured sections; reading its weights chunk by chunk.
//
// Method: positioned reads into own memory instead of a mapping (docs/design/0003). A chunk that lies wholly inside the
// wanted range is read straight into the caller's memory and hashed there; the ones at the edges go through one held
// chunk, so that neighbouring small constants cost one read and one hash together.
#include "format/model_reader.h"

#include <algorithm>
#include <cstring>

#include "base/checked.h"

namespace hai::format {
namespace {

std::string interface_text(const ProgramTensor& tensor, std::span<const Symbol> symbols) {
  return fmt::format("'{}' {}{}", tensor.name, data_type_name(tensor.dtype), to_string(tensor.shape, symbols));
}

// A free dimension of the graph may be any number in a program.
bool agree(const ProgramTensor& a, const ProgramTensor& b, bool may_be_bound) {
  if (a.name != b.name || a.dtype != b.dtype || a.quantization != b.quantization || a.shape.size() != b.shape.size()) {
    return false;
  }
  for (size_t i = 0; i < a.shape.size(); ++i) {
    if (a.shape[i] != b.shape[i] && !(may_be_bound && a.shape[i].is_symbolic())) return false;
  }
  return true;
}

}  // namespace

Interface interface_of(const Program& program) {
  Interface result;
  result.symbols = program.symbols;
  for (const uint32_t tensor : program.inputs) result.inputs.push_back(program.tensors[tensor]);
  for (const uint32_t tensor : program.outputs) result.outputs.push_back(program.tensors[tensor]);
  return result;
}

Status check_same_interface(const Program& graph_or_program, const Program& program) {
  const bool graph = graph_or_program.device == "graph";
  if (graph_or_program.inputs.size() != program.inputs.size() ||
      graph_or_program.outputs.size() != program.outputs.size() ||
      (!graph && graph_or_program.symbols != program.symbols)) {
    return make_error(StatusCode::kCorrupt, "F040", "'{}' and '{}' differ in number of inputs or outputs or in symbols",
                      graph_or_program.device, program.device);
  }
  const auto check = [&](const std::vector<uint32_t>& left, const std::vector<uint32_t>& right) -> Status {
    for (size_t i = 0; i < left.size(); ++i) {
      const ProgramTensor& a = graph_or_program.tensors[left[i]];
      const ProgramTensor& b = program.tensors[right[i]];
      if (!agree(a, b, graph)) {
        return make_error(StatusCode::kCorrupt, "F041", "'{}' has {} where '{}' has {}", graph_or_program.device,
                          interface_text(a, graph_or_program.symbols), program.device,
                          interface_text(b, program.symbols));
      }
    }
    return {};
  };
  HAI_TRY_STATUS(check(graph_or_program.inputs, program.inputs));
  return check(graph_or_program.outputs, program.outputs);
}

Status check_stateless(const Program& graph_or_program) {
  if (graph_or_program.states.empty()) return {};
  return make_error(StatusCode::kCorrupt, "F074", "the program of '{}' has {} states, which only training may change",
                    graph_or_program.device, graph_or_program.states.size());
}

Error broken_rebuild(std::string_view what) {
  return make_error(
      StatusCode::kCorrupt, "F079",
      "what INT8 is rebuilt from (a program in standby, observers, how the integers follow) must be there as "
      "a whole: {}",
      what);
}

Status check_features(const Program& features, const Program* training) {
  bool fit = training != nullptr && features.outputs.size() <= training->inputs.size() &&
             features.symbols == training->symbols && !features.outputs.empty();
  for (size_t i = 0; fit && i < features.outputs.size(); ++i) {
    const ProgramTensor& given = features.tensors[features.outputs[i]];
    const ProgramTensor& taken = training->tensors[training->inputs[i]];
    fit = given.dtype == taken.dtype && given.shape == taken.shape && given.quantization == taken.quantization;
  }
  if (fit) return {};
  return make_error(StatusCode::kCorrupt, "F076",
                    "the frozen part of the step gives {} features that the training program does not take",
                    features.outputs.size());
}

Result<std::shared_ptr<const ModelReader>> ModelReader::open(std::shared_ptr<const ByteSource> source,
                                                             std::string where) {
  const std::shared_ptr<ModelReader> reader(new ModelReader);
  reader->source_ = std::move(source);
  reader->where_ = std::move(where);
  Status status = reader->load();
  if (!status) return with_where(std::move(status).error(), reader->where_);
  return std::shared_ptr<const ModelReader>(reader);
}

Status ModelReader::load() {
  HAI_TRY(container_, read_container(*source_));
  HAI_TRY_STATUS(load_weights());
  HAI_TRY_STATUS(load_small_sections());
  std::optional<Program> graph;
  if (const Section* section = container_.find(SectionKind::kGraph)) {
    HAI_TRY(graph, load_program(*section));
  }
  std::optional<Program> first;
  for (const Section& section : container_.sections) {
    if (!section.is(SectionKind::kProgram)) continue;
    HAI_TRY(Program program, load_program(section));
    if (graph) HAI_TRY_STATUS(check_same_interface(*graph, program));
    if (first) HAI_TRY_STATUS(check_same_interface(*first, program));
    devices_.push_back(program.device);
    if (!first) first = std::move(program);
  }
  if (!graph && !first && container_.find(SectionKind::kCheckpoint) != nullptr) {
    return make_error(
        StatusCode::kInvalidArgument, "F075",
        "this is a checkpoint of a training and no model; a trainer of its model loads the folder that it "
        "lies in");
  }
  if (!graph && !first && container_.find(SectionKind::kUpdate) != nullptr) {
    return make_error(StatusCode::kInvalidArgument, "F078",
                      "this is an update and no model; `hai-device update apply MODEL UPDATE` makes the model from it "
                      "and the one that it is for");
  }
  if (!graph && !first) {
    return make_error(StatusCode::kCorrupt, "F042", "the file holds neither a graph nor a program");
  }
  interface_ = interface_of(first ? *first : *graph);
  return {};
}

Status ModelReader::load_weights() {
  const Section* weights = container_.find(SectionKind::kWeights);
  const Section* digests = container_.find(SectionKind::kWeightDigests);
  const Section* compressed = container_.find(SectionKind::kCompressedWeights);
  const Section* chunks = container_.find(SectionKind::kWeightChunks);
  if ((weights == nullptr) != (digests == nullptr) || (compressed == nullptr) != (chunks == nullptr)) {
    return make_error(StatusCode::kCorrupt, "F043", "weights and their digests must both be there");
  }
  if (weights != nullptr && compressed != nullptr) {
    return make_error(StatusCode::kCorrupt, "F062", "the file has weights twice, compressed and not");
  }
  if (weights != nullptr) return load_raw_weights(*weights, *digests);
  if (compressed != nullptr) return load_compressed_weights(*compressed, *chunks);
  return {};
}

Status ModelReader::load_raw_weights(const Section& weights, const Section& digests) {
  const int64_t count = ceil_div(weights.size_bytes, kWeightChunkBytes);
  if (digests.size_bytes != count * static_cast<int64_t>(sizeof(Sha256Digest)) || weights.digest != digests.digest) {
    return make_error(StatusCode::kCorrupt, "F044",
                      "{} bytes of weights need {} digests of chunks; the file has {} bytes", weights.size_bytes, count,
                      digests.size_bytes);
  }
  HAI_TRY(const SectionBytes bytes, read_section(*source_, digests));
  chunks_.resize(static_cast<size_t>(count));
  for (size_t i = 0; i < chunks_.size(); ++i) {
    const auto start = static_cast<int64_t>(i) * kWeightChunkBytes;
    chunks_[i].offset_bytes = weights.offset_bytes + start;
    chunks_[i].stored_bytes = std::min(kWeightChunkBytes, weights.size_bytes - start);
    std::memcpy(chunks_[i].digest.data(), bytes.view().data() + i * sizeof(Sha256Digest), sizeof(Sha256Digest));
  }
  weights_bytes_ = weights.size_bytes;
  return {};
}

Status ModelReader::load_compressed_weights(const Section& weights, const Section& chunks) {
  if (weights.digest != chunks.digest) {
    return make_error(StatusCode::kCorrupt, "F063", "the compressed weights and their chunks do not belong together");
  }
  HAI_TRY(const SectionBytes bytes, read_section(*source_, chunks));
  HAI_TRY(WeightChunks decoded, decode_weight_chunks(bytes.view(), weights));
  chunks_ = std::move(decoded.chunks);
  weights_bytes_ = decoded.expanded_bytes;
  return {};
}

Status ModelReader::load_small_sections() {
  if (const Section* section = container_.find(SectionKind::kMetadata)) {
    HAI_TRY(const SectionBytes bytes, read_section(*source_, *section));
    HAI_TRY(metadata_, decode_metadata(bytes.view()));
  }
  if (const Section* section = container_.find(SectionKind::kPreprocessing)) {
    HAI_TRY(const SectionBytes bytes, read_section(*source_, *section));
    HAI_TRY(preprocessing_, decode_preprocessing(bytes.view()));
  }
  if (const Section* section = container_.find(SectionKind::kReport)) {
    HAI_TRY(const SectionBytes bytes, read_section(*source_, *section));
    report_.assign(reinterpret_cast<const char*>(bytes.view().data()), bytes.view().size());
    HAI_TRY_STATUS(verify_quantization_report(report_));
  }
  return {};
}

Result<Program> ModelReader::load_program(const Section& section) const {
  const std::string place = fmt::format("section {} '{}'", section_kind_name(section.kind), section.name);
  Result<SectionBytes> bytes = read_section(*source_, section);
  if (!bytes) return std::move(bytes).error();
  Result<Program> program = decode_program(bytes->view());
  if (!program) return with_where(std::move(program).error(), place);
  Status status = verify_program(*program, weights_bytes_);
  if (!status) return with_where(std::move(status).error(), place);
  const bool graph = section.is(SectionKind::kGraph);
  if (graph != (program->device == "graph") || (!graph && program->device != section.name)) {
    return with_where(make_error(StatusCode::kCorrupt, "F045", "it holds a program for '{}'", program->device), place);
  }
  if (!section.is(SectionKind::kTraining) && !section.is(SectionKind::kObservers)) {
    if (auto stateless = check_stateless(*program); !stateless) return with_where(std::move(stateless).error(), place);
  }
  return program;
}

Result<Program> ModelReader::graph() const {
  const Section* section = container_.find(SectionKind::kGraph);
  if (section == nullptr) {
    return with_where(make_error(StatusCode::kNotFound, "F046",
                                 "the file holds no portable graph, only programs; use the file it was made from"),
                      where_);
  }
  Result<Program> program = load_program(*section);
  if (!program) return with_where(std::move(program).error(), where_);
  return program;
}

Result<Program> ModelReader::program(std::string_view device) const {
  for (const Section& section : container_.sections) {
    if (!section.is(SectionKind::kProgram) || section.name != device) continue;
    Result<Program> program = load_program(section);
    if (!program) return with_where(std::move(program).error(), where_);
    return program;
  }
  std::string available;
  for (const std::string& name : devices_) available += (available.empty() ? "" : ", ") + name;
  return with_where(make_error(StatusCode::kNotFound, "F047",
                               "the file holds no program for device '{}'; it holds: {}. Compile the model for it",
                               device, available.empty() ? "none" : available),
                    where_);
}

Result<Program> ModelReader::training() const {
  const Section* section = container_.find(SectionKind::kTraining);
  if (section == nullptr) {
    return with_where(
        make_error(StatusCode::kNotFound, "F073", "the file holds no training program; compile the model with --train"),
        where_);
  }
  Result<Program> program = load_program(*section);
  if (!program) return with_where(std::move(program).error(), where_);
  return program;
}

Result<Program> ModelReader::features() const {
  const Section* section = container_.find(SectionKind::kFeatures);
  HAI_CHECK(section != nullptr);
  HAI_TRY(const Program step, training());
  Result<Program> program = load_program(*section);
  if (!program) return with_where(std::move(program).error(), where_);
  if (auto status = check_features(*program, &step); !status) return with_where(std::move(status).error(), where_);
  return program;
}

// A part of what is rebuilt.
Result<Program> ModelReader::load_part(SectionKind kind, std::string_view device) const {
  const Section* section = container_.find(kind);
  if (section == nullptr || devices_.empty() || section->name != device) {
    const std::string_view name = section_kind_name(static_cast<uint32_t>(kind));
    return with_where(broken_rebuild(fmt::format("section {} is missing, or is for another device", name)), where_);
  }
  Result<Program> program = load_program(*section);
  if (!program) return with_where(std::move(program).error(), where_);
  return program;
}

Result<Program> ModelReader::standby() const {
  const std::string device = devices_.empty() ? std::string() : devices_[0];
  HAI_TRY(Program standby, load_part(SectionKind::kStandby, device));
  HAI_TRY(const Program first, program(device));
  if (auto status = check_same_interface(first, standby); !status) return with_where(std::move(status).error(), where_);
  return standby;
}

Result<Program> ModelReader::observers() const {
  return load_part(SectionKind::kObservers, devices_.empty() ? std::string_view() : devices_[0]);
}

Result<Program> ModelReader::rebuild() const { return load_part(SectionKind::kRebuild, "rebuild"); }

Status ModelReader::verify_all() const {
  const auto check = [this]() -> Status {
    HAI_TRY(const Container now, read_container(*source_));
    if (now.digest != container_.digest) {
      return make_error(StatusCode::kCorrupt, "F048", "the file was replaced while in use; load it again");
    }
    for (const Section& section : container_.sections) {
      if (section.is_weights()) continue;
      HAI_TRY_STATUS(check_section(*source_, section));
    }
    return {};
  };
  Status status = check();
  if (!status) return with_where(std::move(status).error(), where_);
  WeightReader reader(std::shared_ptr<const ModelReader>(std::shared_ptr<void>(), this));
  std::byte last{};
  for (int64_t end = 0; end < weights_bytes_;) {
    end = std::min(end + kWeightChunkBytes, weights_bytes_);
    HAI_TRY_STATUS(reader.read(end - 1, std::span(&last, 1)));
  }
  return {};
}

int64_t WeightReader::chunk_size(int64_t chunk) const {
  return std::min(kWeightChunkBytes, model_->weights_bytes_ - chunk * kWeightChunkBytes);
}

// Reads a chunk, compares it with its digest as it is stored, and only then expands it.
Status WeightReader::fetch(int64_t chunk, std::span<std::byte> out) {
  const WeightChunk& place = model_->chunks_[static_cast<size_t>(chunk)];
  const bool raw = place.coding == ChunkCoding::kRaw;
  if (!raw) stored_.resize(static_cast<size_t>(place.stored_bytes));
  const std::span<std::byte> stored = raw ? out : std::span(stored_);
  Status status = model_->source_->read_at(place.offset_bytes, stored);
  if (status && sha256(stored) != place.digest) {
    status = make_error(StatusCode::kCorrupt, "F049",
                        "the weights at {:#x}, {} bytes, do not match their digest; get the file again",
                        place.offset_bytes, stored.size());
  }
  if (status && !raw) status = decode_chunk(place.coding, stored, out, scratch_);
  if (!status) return with_where(std::move(status).error(), model_->where_);
  return {};
}

Status WeightReader::hold(int64_t chunk) {
  if (held_chunk_ == chunk) return {};
  held_chunk_ = -1;
  held_.resize(static_cast<size_t>(chunk_size(chunk)));
  HAI_TRY_STATUS(fetch(chunk, held_));
  held_chunk_ = chunk;
  return {};
}

Status WeightReader::read(int64_t offset_bytes, std::span<std::byte> out) {
  const auto size = static_cast<int64_t>(out.size());
  HAI_CHECK(offset_bytes >= 0 && offset_bytes <= model_->weights_bytes_ &&
            size <= model_->weights_bytes_ - offset_bytes);
  int64_t done = 0;
  while (done < size) {
    const int64_t chunk = (offset_bytes + done) / kWeightChunkBytes;
    const int64_t within = (offset_bytes + done) % kWeightChunkBytes;
    const int64_t count = std::min(chunk_size(chunk) - within, size - done);
    const std::span<std::byte> target = out.subspan(static_cast<size_t>(done), static_cast<size_t>(count));
    if (count == chunk_size(chunk) && chunk != held_chunk_) {
      HAI_TRY_STATUS(fetch(chunk, target));
    } else {
      HAI_TRY_STATUS(hold(chunk));
      std::memcpy(target.data(), held_.data() + within, target.size());
    }
    done += count;
  }
  return {};
}

}  // namespace hai::format

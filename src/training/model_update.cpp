// Making and applying update files.
//
// Method: the new file as a list of stretches, each a copy of the base, the base XOR stored bytes, or stored bytes.
// Sections are paired by kind and name; equal digests make a copy of the whole. Others of equal size, and raw weights,
// are compared in blocks: a parameter that was trained differs from the old one in its low bits, so that the XOR has
// long runs of zeros. Compressed weights are compared by chunk. Stored bytes are one stream in chunks of 1 MiB, each
// coded like a chunk of weights (format/chunk_coding.h). Both directions hold a megabyte at a time, beside the update's
// own stored bytes when it is made. The description is a Program (format/program.h) of device "update".
//
// Applying writes OUTPUT.new, verifies every digest in it, and renames. Nothing that was not verified gets the name.
#include "training/model_update.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/sha256.h"
#include "format/chunk_coding.h"
#include "format/codec.h"
#include "format/container.h"
#include "format/model_reader.h"
#include "format/weight_chunks.h"
#include "training/previous_model.h"

namespace hai::training {
namespace {

using format::ChunkCoding;
using format::Container;
using format::Program;
using format::Section;
using format::SectionKind;

constexpr int64_t kBlockBytes = 512;        // compared as a whole
constexpr int64_t kJoinedBytes = 4096;      // equal bytes between two changes that are stored (as zeros) all the same
constexpr int64_t kPieceBytes = 1 << 20;    // read, written, stored at a time
constexpr size_t kMostStretches = 1 << 20;  // of an update that is read

enum class Source : int64_t { kBase = 0, kBaseXorStored = 1, kStored = 2 };
struct Stretch {
  Source source = Source::kStored;
  int64_t offset_bytes = 0;  // in the base
  int64_t size_bytes = 0;
};
struct StoredChunk {
  int64_t stored_bytes = 0;
  ChunkCoding coding = ChunkCoding::kRaw;
  int64_t expanded_bytes = 0;
};
struct Description {
  ModelUpdate facts;
  std::vector<Stretch> stretches;
  std::vector<StoredChunk> chunks;
};

Error malformed(std::string_view what) {
  return make_error(StatusCode::kCorrupt, "E070", "it is no update, or a malformed one: {}", what);
}

Result<std::vector<std::byte>> read_piece(const ByteSource& source, int64_t offset, int64_t size) {
  std::vector<std::byte> bytes(static_cast<size_t>(size));
  HAI_TRY_STATUS(source.read_at(offset, bytes));
  return bytes;
}

void xor_into(std::span<std::byte> to, std::span<const std::byte> other) {
  for (size_t i = 0; i < to.size(); ++i) to[i] ^= other[i];
}

// Opened and verified whole: what an update is made of must be right.
struct OpenModel {
  std::shared_ptr<const ByteSource> source;
  std::shared_ptr<const format::ModelReader> reader;
  const Container& container() const { return reader->container(); }
};
Result<OpenModel> open_model(const std::string& path) {
  OpenModel out;
  HAI_TRY(out.source, open_file(path));
  HAI_TRY(out.reader, format::ModelReader::open(out.source, path));
  HAI_TRY_STATUS(out.reader->verify_all());
  return out;
}

class Maker {
 public:
  Maker(const OpenModel& base, const OpenModel& result) : base_(base), result_(result) {}

  Status compare() {
    int64_t at = 0;
    for (const Section& section : result_.container().sections) {
      HAI_TRY_STATUS(compare_rest(at, section.offset_bytes - at));
      HAI_TRY_STATUS(compare_section(section));
      at = section.offset_bytes + section.size_bytes;
    }
    return flush();
  }
  const std::vector<std::byte>& stored() const { return stored_; }
  Description describe() const {
    Description out;
    out.facts = {to_hex(base_.container().digest),
                 to_hex(result_.container().digest),
                 base_.container().file_bytes,
                 result_.container().file_bytes,
                 changed_,
                 0};
    out.stretches = stretches_;
    out.chunks = chunks_;
    return out;
  }

 private:
  // Header and table, or the zeros between sections: mostly what the base has there too.
  Status compare_rest(int64_t offset, int64_t size) {
    if (offset + size > base_.container().file_bytes) return store(offset, size);
    return compare_blocks(offset, offset, size);
  }

  Status compare_section(const Section& section) {
    const Section* old = nullptr;
    for (const Section& other : base_.container().sections)
      if (other.kind == section.kind && other.name == section.name) old = &other;
    if (old != nullptr && old->digest == section.digest && old->size_bytes == section.size_bytes) {
      copy(old->offset_bytes, section.size_bytes);
      return {};
    }
    if (section.is(SectionKind::kCompressedWeights)) return compare_chunks(section);
    if (old == nullptr || (old->size_bytes != section.size_bytes && !section.is_weights()))
      return store(section.offset_bytes, section.size_bytes);
    const int64_t shared = std::min(old->size_bytes, section.size_bytes);
    HAI_TRY_STATUS(compare_blocks(old->offset_bytes, section.offset_bytes, shared));
    return store(section.offset_bytes + shared, section.size_bytes - shared);
  }

  // Equal blocks are copied, others stored as a XOR, with short equal stretches between them.
  Status compare_blocks(int64_t old, int64_t offset, int64_t size) {
    for (int64_t piece = 0; piece < size; piece += kPieceBytes) {
      const int64_t count = std::min(kPieceBytes, size - piece);
      HAI_TRY(std::vector<std::byte> now, read_piece(*result_.source, offset + piece, count));
      HAI_TRY(const std::vector<std::byte> then, read_piece(*base_.source, old + piece, count));
      xor_into(now, then);
      int64_t done = 0;
      while (done < count) {
        const int64_t changed = next_change(now, done);
        copy(old + piece + done, changed - done);
        const int64_t end = end_of_changes(now, changed);
        HAI_TRY_STATUS(
            append({Source::kBaseXorStored, old + piece + changed, end - changed},
                   std::span(now).subspan(static_cast<size_t>(changed), static_cast<size_t>(end - changed))));
        done = end;
      }
    }
    return {};
  }
  static bool is_zero(std::span<const std::byte> bytes, int64_t from, int64_t to) {
    return std::all_of(bytes.begin() + from, bytes.begin() + to, [](std::byte b) { return b == std::byte{0}; });
  }
  static int64_t next_change(std::span<const std::byte> bytes, int64_t from) {
    const auto size = static_cast<int64_t>(bytes.size());
    while (from < size && is_zero(bytes, from, std::min(from + kBlockBytes, size))) from += kBlockBytes;
    return std::min(from, size);
  }
  static int64_t end_of_changes(std::span<const std::byte> bytes, int64_t from) {
    const auto size = static_cast<int64_t>(bytes.size());
    int64_t end = from;
    while (end < size) {
      const int64_t next = next_change(bytes, end);
      if (next == size || next - end > kJoinedBytes) break;
      end = std::min(next + kBlockBytes, size);
    }
    return end;
  }

  // A chunk that the base has somewhere is copied from there.
  Status compare_chunks(const Section& section) {
    std::map<Sha256Digest, format::WeightChunk> old;
    if (const Section* weights = base_.container().find(SectionKind::kCompressedWeights)) {
      HAI_TRY(const format::WeightChunks chunks, chunks_of(base_, *weights));
      for (const format::WeightChunk& chunk : chunks.chunks) old[chunk.digest] = chunk;
    }
    HAI_TRY(const format::WeightChunks chunks, chunks_of(result_, section));
    for (const format::WeightChunk& chunk : chunks.chunks) {
      const auto found = old.find(chunk.digest);
      if (found != old.end() && found->second.stored_bytes == chunk.stored_bytes) {
        copy(found->second.offset_bytes, chunk.stored_bytes);
      } else {
        HAI_TRY_STATUS(store(chunk.offset_bytes, chunk.stored_bytes));
      }
    }
    return {};
  }
  static Result<format::WeightChunks> chunks_of(const OpenModel& model, const Section& weights) {
    HAI_TRY(const format::SectionBytes bytes,
            format::read_section(*model.source, *model.container().find(SectionKind::kWeightChunks)));
    return format::decode_weight_chunks(bytes.view(), weights);
  }

  void copy(int64_t offset, int64_t size) {
    if (size > 0) stretches_.push_back({Source::kBase, offset, size});
  }
  Status store(int64_t offset, int64_t size) {
    for (int64_t done = 0; done < size; done += kPieceBytes) {
      HAI_TRY(const std::vector<std::byte> bytes,
              read_piece(*result_.source, offset + done, std::min(kPieceBytes, size - done)));
      HAI_TRY_STATUS(append({Source::kStored, 0, static_cast<int64_t>(bytes.size())}, bytes));
    }
    return {};
  }
  Status append(const Stretch& stretch, std::span<const std::byte> bytes) {
    if (stretch.size_bytes == 0) return {};
    changed_ += stretch.size_bytes;
    stretches_.push_back(stretch);
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    while (pending_.size() >= static_cast<size_t>(kPieceBytes)) HAI_TRY_STATUS(store_chunk(kPieceBytes));
    return {};
  }
  Status flush() { return pending_.empty() ? Status() : store_chunk(static_cast<int64_t>(pending_.size())); }
  Status store_chunk(int64_t size) {
    const auto chunk = std::span<const std::byte>(pending_).first(static_cast<size_t>(size));
    const format::CodedChunk coded = format::encode_chunk(chunk);
    const auto bytes = coded.coding == ChunkCoding::kRaw ? chunk : std::span<const std::byte>(coded.bytes);
    chunks_.push_back({static_cast<int64_t>(bytes.size()), coded.coding, size});
    stored_.insert(stored_.end(), bytes.begin(), bytes.end());
    pending_.erase(pending_.begin(), pending_.begin() + size);
    return {};
  }

  const OpenModel& base_;
  const OpenModel& result_;
  std::vector<Stretch> stretches_;
  std::vector<StoredChunk> chunks_;
  std::vector<std::byte> stored_;
  std::vector<std::byte> pending_;
  int64_t changed_ = 0;
};

std::vector<std::byte> encode(const Description& description) {
  std::vector<int64_t> stretches, chunks;
  for (const Stretch& s : description.stretches)
    stretches.insert(stretches.end(), {static_cast<int64_t>(s.source), s.offset_bytes, s.size_bytes});
  for (const StoredChunk& c : description.chunks)
    chunks.insert(chunks.end(), {c.stored_bytes, static_cast<int64_t>(c.coding), c.expanded_bytes});
  Program program;
  program.device = "update";
  program.instructions.resize(1);
  program.instructions[0].kernel = "update";
  program.instructions[0].attributes = {{"base", description.facts.base},
                                        {"base_bytes", description.facts.base_bytes},
                                        {"result", description.facts.result},
                                        {"result_bytes", description.facts.result_bytes},
                                        {"stretches", stretches},
                                        {"chunks", chunks}};
  return format::encode_program(program);
}

template <typename T>
bool take(const format::Attributes& attributes, const char* name, T& out) {
  const auto found = attributes.find(name);
  const T* value = found == attributes.end() ? nullptr : std::get_if<T>(&found->second);
  if (value != nullptr) out = *value;
  return value != nullptr;
}

// Every stretch inside the base, both sums as promised; no number is large enough for a sum to overflow.
Status check_stretches(Description& out, std::span<const int64_t> numbers, int64_t expanded_bytes) {
  if (numbers.size() % 3 != 0 || numbers.size() / 3 > kMostStretches) return malformed("its list of stretches");
  int64_t result = 0;
  for (size_t i = 0; i < numbers.size(); i += 3) {
    const Stretch stretch{static_cast<Source>(numbers[i]), numbers[i + 1], numbers[i + 2]};
    const bool from_base = stretch.source != Source::kStored;
    const int64_t limit = from_base ? out.facts.base_bytes : 0;
    if (numbers[i] < 0 || numbers[i] > 2 || stretch.offset_bytes < 0 || stretch.offset_bytes > limit ||
        stretch.size_bytes < 1 || stretch.size_bytes > out.facts.result_bytes - result ||
        (from_base && stretch.size_bytes > limit - stretch.offset_bytes)) {
      return malformed("a stretch out of range");
    }
    result += stretch.size_bytes;
    if (stretch.source != Source::kBase) out.facts.changed_bytes += stretch.size_bytes;
    out.stretches.push_back(stretch);
  }
  if (result != out.facts.result_bytes || expanded_bytes != out.facts.changed_bytes)
    return malformed("its stretches are not the file that it promises");
  return {};
}

Result<int64_t> check_chunks(Description& out, std::span<const int64_t> numbers, int64_t section_bytes) {
  if (numbers.size() % 3 != 0) return malformed("its list of chunks");
  int64_t stored = 0;
  int64_t expanded = 0;
  for (size_t i = 0; i < numbers.size(); i += 3) {
    const int64_t coding = numbers[i + 1];
    const bool known = coding >= 0 && coding <= 4 && format::is_known_coding(static_cast<uint32_t>(coding));
    if (!known || numbers[i] < 1 || numbers[i] > section_bytes - stored || numbers[i + 2] < numbers[i] ||
        numbers[i + 2] > kPieceBytes || (coding == 0 && numbers[i] != numbers[i + 2])) {
      return malformed("a chunk out of range");
    }
    stored += numbers[i];
    expanded += numbers[i + 2];
    out.chunks.push_back({numbers[i], static_cast<ChunkCoding>(coding), numbers[i + 2]});
  }
  if (stored != section_bytes) return malformed("its chunks do not fill their section");
  return expanded;
}

struct OpenUpdate {
  std::shared_ptr<const ByteSource> source;
  Description description;
  int64_t stored_offset = 0;
};

Result<OpenUpdate> open_update(const std::string& path) {
  OpenUpdate out;
  HAI_TRY(out.source, open_file(path));
  HAI_TRY(const Container container, format::read_container(*out.source));
  const Section* description = container.find(SectionKind::kUpdate);
  const Section* stored = container.find(SectionKind::kUpdateBytes);
  if (description == nullptr || stored == nullptr) return malformed("its sections are missing");
  HAI_TRY(const format::SectionBytes bytes, format::read_section(*out.source, *description));
  HAI_TRY_STATUS(format::check_section(*out.source, *stored));
  HAI_TRY(const Program program, format::decode_program(bytes.view()));
  if (program.instructions.size() != 1) return malformed("its description");
  const format::Attributes& attributes = program.instructions[0].attributes;
  std::vector<int64_t> stretches, chunks;
  ModelUpdate& facts = out.description.facts;
  if (!take(attributes, "base", facts.base) || !take(attributes, "base_bytes", facts.base_bytes) ||
      !take(attributes, "result", facts.result) || !take(attributes, "result_bytes", facts.result_bytes) ||
      !take(attributes, "stretches", stretches) || !take(attributes, "chunks", chunks) || facts.base_bytes < 0 ||
      facts.base_bytes > format::kMaxFileBytes || facts.result_bytes < 0 ||
      facts.result_bytes > format::kMaxFileBytes) {
    return malformed("its description");
  }
  HAI_TRY(const int64_t expanded, check_chunks(out.description, chunks, stored->size_bytes));
  HAI_TRY_STATUS(check_stretches(out.description, stretches, expanded));
  facts.update_bytes = container.file_bytes;
  out.stored_offset = stored->offset_bytes;
  return out;
}

// The stored bytes one after the other.
class StoredStream {
 public:
  explicit StoredStream(const OpenUpdate& update) : update_(update), offset_(update.stored_offset) {}
  Status read(std::span<std::byte> out) {
    while (!out.empty()) {
      if (at_ == chunk_.size()) HAI_TRY_STATUS(next());
      const size_t count = std::min(out.size(), chunk_.size() - at_);
      std::copy_n(chunk_.begin() + static_cast<std::ptrdiff_t>(at_), count, out.begin());
      at_ += count;
      out = out.subspan(count);
    }
    return {};
  }

 private:
  Status next() {
    const StoredChunk& chunk = update_.description.chunks[number_++];  // their sum was checked
    HAI_TRY(const std::vector<std::byte> stored, read_piece(*update_.source, offset_, chunk.stored_bytes));
    offset_ += chunk.stored_bytes;
    chunk_.resize(static_cast<size_t>(chunk.expanded_bytes));
    at_ = 0;
    return format::decode_chunk(chunk.coding, stored, chunk_, scratch_);
  }
  const OpenUpdate& update_;
  int64_t offset_;
  size_t number_ = 0;
  std::vector<std::byte> chunk_;
  size_t at_ = 0;
  std::vector<std::byte> scratch_;
};

Status write_result(const OpenUpdate& update, const ByteSource& base, const std::string& path,
                    FileSystem& file_system) {
  HAI_TRY(AtomicFileWriter writer, AtomicFileWriter::create(path, file_system));
  StoredStream stored(update);
  std::vector<std::byte> bytes;
  std::vector<std::byte> change;
  for (const Stretch& stretch : update.description.stretches) {
    for (int64_t done = 0; done < stretch.size_bytes; done += kPieceBytes) {
      bytes.resize(static_cast<size_t>(std::min(kPieceBytes, stretch.size_bytes - done)));
      if (stretch.source == Source::kStored) {
        HAI_TRY_STATUS(stored.read(bytes));
      } else {
        HAI_TRY_STATUS(base.read_at(stretch.offset_bytes + done, bytes));
      }
      if (stretch.source == Source::kBaseXorStored) {
        change.resize(bytes.size());
        HAI_TRY_STATUS(stored.read(change));
        xor_into(bytes, change);
      }
      HAI_TRY_STATUS(writer.write(bytes));
    }
  }
  return writer.commit();
}

Status verify_result(const std::string& path, const std::string& digest) {
  HAI_TRY(const OpenModel model, open_model(path));
  if (to_hex(model.container().digest) == digest) return {};
  return make_error(StatusCode::kCorrupt, "E073", "what came out has digest {}, the update promises {}; get it again",
                    to_hex(model.container().digest), digest);
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<ModelUpdate> make_update(const std::string& from, const std::string& to, const std::string& path,
                                FileSystem& file_system) {
  HAI_TRY_STATUS(check_path(path));
  HAI_TRY(const OpenModel base, open_model(from));
  HAI_TRY(const OpenModel result, open_model(to));
  Maker maker(base, result);
  HAI_TRY_STATUS(maker.compare());
  Description description = maker.describe();
  const std::vector<std::byte> described = encode(description);
  Container container;
  const auto add = [&](SectionKind kind, std::span<const std::byte> bytes) {
    Section section;
    section.kind = static_cast<uint32_t>(kind);
    section.required = true;
    section.size_bytes = static_cast<int64_t>(bytes.size());
    section.digest = sha256(bytes);
    container.sections.push_back(section);
  };
  add(SectionKind::kUpdate, described);
  add(SectionKind::kUpdateBytes, maker.stored());
  std::vector<std::byte> bytes = format::encode_container(container);
  bytes.resize(static_cast<size_t>(container.sections[0].offset_bytes));
  bytes.insert(bytes.end(), described.begin(), described.end());
  bytes.resize(static_cast<size_t>(container.sections[1].offset_bytes));
  HAI_TRY(AtomicFileWriter writer, AtomicFileWriter::create(path, file_system));
  HAI_TRY_STATUS(writer.write(bytes));
  HAI_TRY_STATUS(writer.write(maker.stored()));
  HAI_TRY_STATUS(writer.commit());
  description.facts.update_bytes = container.file_bytes;
  return description.facts;
}

Result<ModelUpdate> read_update(const std::string& path) {
  HAI_TRY_STATUS(check_path(path));
  auto update = open_update(path);
  if (!update) return with_where(std::move(update).error(), path);
  return update->description.facts;
}

Result<AppliedUpdate> apply_update(const std::string& model, const std::string& update, const std::string& wanted,
                                   FileSystem& file_system) {
  for (const std::string* path : {&model, &update, &wanted}) HAI_TRY_STATUS(check_path(*path));
  std::error_code none;  // a link stays one, and what it points to is replaced
  const std::string output =
      std::filesystem::is_symlink(wanted, none) ? std::filesystem::weakly_canonical(wanted, none).string() : wanted;
  auto opened = open_update(update);
  if (!opened) return with_where(std::move(opened).error(), update);
  const ModelUpdate& facts = opened->description.facts;
  if (model_digest(output) == facts.result && verify_result(output, facts.result)) return AppliedUpdate{facts, true};
  HAI_TRY(const std::shared_ptr<const ByteSource> base, open_file(model));
  const std::string digest = model_digest(model);
  if (digest != facts.base || base->size_bytes() != facts.base_bytes) {
    return with_where(
        make_error(StatusCode::kInvalidArgument, "E071",
                   "the update is for the model with digest {}, this one has {}; get the update for this one, or the "
                   "model whole",
                   facts.base, digest.empty() ? "none: it is no whole model" : digest),
        model);
  }
  remove_leftovers(output);
  const std::string fresh = output + ".new";
  HAI_TRY_STATUS(write_result(*opened, *base, fresh, file_system));
  if (Status status = verify_result(fresh, facts.result); !status) {
    HAI_TRY_STATUS(file_system.remove(fresh));
    if (const auto old = open_model(model); !old) {
      return with_where(
          make_error(StatusCode::kCorrupt, "E072",
                     "the model that the update is for is damaged, and stays as it is: {}", old.error().to_string()),
          model);
    }
    return with_where(std::move(status).error(), update);
  }
  if (const auto old = std::filesystem::status(output, none); std::filesystem::is_regular_file(old))
    std::filesystem::permissions(fresh, old.permissions(), none);
  HAI_TRY_STATUS(keep_previous(output, model_digest(output), file_system));
  HAI_TRY_STATUS(file_system.rename(fresh, output));
  HAI_TRY_STATUS(file_system.sync_folder(folder_of(output)));
  return AppliedUpdate{facts, false};
}

}  // namespace hai::training

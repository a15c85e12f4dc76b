// The container: header, section table and padding of a .hai file.
//
//   offset  bytes
//   0       8      magic 89 48 41 49 0d 0a 1a 0a: catches text-mode and 7-bit transfers, like PNG's
//   8       4      version (1)                          all numbers little-endian
//   12      4      flags (0)
//   16      4      number of sections n, at most 256
//   20      4      reserved (0)
//   24      8      size of the file
//   32      32     SHA-256 of bytes 0..31 and of the section table
//   64      256*n  section table
//   then the sections, in the order of the table, each at the next multiple of its alignment; bytes between are zero;
//   the file ends with the last section.
//
// An entry of the section table:
//   0       4      kind (SectionKind)
//   4       4      flags: bit 0: required, a reader that does not know the kind must refuse the file
//   8       8      offset of the section
//   16      8      stored size
//   24      4      alignment, a power of two in 64..65536
//   28      4      reserved (0)
//   32      32     name, lower-case ASCII, filled with zeros ("cpu" for the program of the cpu)
//   64      32     SHA-256 of the stored bytes; of weights, compressed or not: of the section of their chunk digests
//   96      64     encryption: algorithm (4 bytes, 0: none), key id, nonce, size before encryption; all zero in version
//   1 160     96     signature over kind, name and digest: algorithm (4 bytes, 0: none), key id, signature; likewise
//
// So every byte of a file is under a digest or has one possible value: a changed byte is found wherever it lies.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "base/sha256.h"

namespace hai::format {

inline constexpr uint32_t kFileVersion = 1;
inline constexpr int64_t kHeaderBytes = 64;
inline constexpr int64_t kSectionEntryBytes = 256;
inline constexpr uint32_t kMaxSections = 256;
inline constexpr int64_t kSectionAlignmentBytes = 64;
inline constexpr int64_t kWeightSectionAlignmentBytes = 65536;
inline constexpr int64_t kWeightChunkBytes = 1 << 20;
inline constexpr int64_t kMaxStructuredSectionBytes = 256 << 20;  // of all but weights, states and an update's bytes
inline constexpr int64_t kMaxFileBytes = int64_t{1} << 46;

// Numbers are written into files: never renumber.
enum class SectionKind : uint32_t {
  kGraph = 1,          // program.fbs: the portable graph
  kProgram = 2,        // program.fbs: one per device, named by it
  kWeights = 3,        // raw; checked by chunk
  kWeightDigests = 4,  // SHA-256 of each 1 MiB of the weights, in order
  kPreprocessing = 5,  // model.fbs
  kReport = 6,         // JSON text of the quantizer
  kMetadata = 7,       // model.fbs
  // Instead of kWeights and kWeightDigests where that makes the file smaller (chunk_coding.h):
  kCompressedWeights = 8,  // the stored chunks one after the other; checked by chunk
  kWeightChunks = 9,       // how each chunk is stored, and its digest (weight_chunks.h)
  kTraining = 10,          // program.fbs: one step of training on the device that names it
  // Of a checkpoint, which is no model (training/checkpoint.h):
  kCheckpoint = 11,  // program.fbs: what the states are, and where the training stands
  kStates = 12,      // raw; the states, one after the other
  // Of a model again:
  kFeatures = 13,  // program.fbs: the frozen part of a step, on the device that names it
  // Of an update, which is no model either (training/model_update.h):
  kUpdate = 14,       // program.fbs: which model it is for, and what becomes of it
  kUpdateBytes = 15,  // what the model does not have, in chunks that are stored like those of weights
  // Of a model whose integers are rebuilt after a training (rebuild/lines.h):
  kStandby = 16,    // program.fbs: the other form of the device's program that names it, integer or f32
  kObservers = 17,  // program.fbs: the trained part, which keeps the ranges of what it sees as states
  kRebuild = 18,    // program.fbs: how the integers follow from parameters and ranges
};

// "graph", "program", ...; "unknown".
std::string_view section_kind_name(uint32_t kind);

struct Section {
  uint32_t kind = 0;  // SectionKind, or one of a newer version
  bool required = false;
  std::string name;
  int64_t offset_bytes = 0;
  int64_t size_bytes = 0;
  int64_t alignment_bytes = kSectionAlignmentBytes;
  Sha256Digest digest{};

  bool is(SectionKind wanted) const { return kind == static_cast<uint32_t>(wanted); }
  bool is_weights() const { return is(SectionKind::kWeights) || is(SectionKind::kCompressedWeights); }
  bool known() const { return section_kind_name(kind) != "unknown"; }
};

struct Container {
  int64_t file_bytes = 0;
  Sha256Digest digest{};  // of header and section table, and so of all that the file says
  std::vector<Section> sections;

  // The only section of this kind; null when there is none (check_container refuses a second one).
  const Section* find(SectionKind kind) const;
};

// Reads header and table and checks all that the picture above says, padding included. Unknown optional sections stay
// in the table; an unknown required one is an error that names it.
Result<Container> read_container(const ByteSource& source);

// Reads one section other than the weights into memory aligned to 64 bytes and checks its digest.
class SectionBytes {
 public:
  std::span<const std::byte> view() const { return {reinterpret_cast<const std::byte*>(blocks_.data()), size_}; }

 private:
  friend Result<SectionBytes> read_section(const ByteSource& source, const Section& section);
  struct alignas(64) Block {
    std::byte bytes[64];
  };
  std::vector<Block> blocks_;
  size_t size_ = 0;
};
Result<SectionBytes> read_section(const ByteSource& source, const Section& section);

// Checks the digest of a section other than the weights, whatever its size, without keeping it.
Status check_section(const ByteSource& source, const Section& section);

// Gives the sections their offsets, fills in file_bytes and digest, and returns header and table. Sizes, alignments and
// digests of the sections are set.
std::vector<std::byte> encode_container(Container& container);

}  // namespace hai::format

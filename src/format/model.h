// ModelFile: what a .hai file holds, in memory, and how it is written and read whole.
//
// The container's bytes are described in container.h. This is for the tools and the compiler, which hold a model in
// memory anyway; the runtime reads through ModelReader (reader.h), which never has the weights resident as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/program.h"
#include "types/preprocessing.h"

namespace hai::format {

using hai::Preprocessing;

// A stretch of the weights section. Constants point into it by ProgramTensor::offset_bytes (aligned to 64).
struct WeightPiece {
  int64_t offset_bytes = 0;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // keeps `bytes` alive; may be null when the caller does
};

inline constexpr int64_t kWeightAlignmentBytes = 64;  // of each constant inside the weights section

struct ModelFile {
  std::string name;  // of the network
  // The portable graph: device "graph", tensors at kInput, kConstant and kValue only.
  std::optional<Program> graph;
  std::vector<Program> programs;  // at most one per device
  // One step of training: takes what the programs take and what they should have answered, and has states.
  std::optional<Program> training;
  // The frozen part of a step: takes what the programs take, and gives what the training program takes instead.
  std::optional<Program> features;
  // For INT8 that is rebuilt after a training (rebuild/lines.h), all three or none. `standby` is the other form of the
  // first program, integer where that is f32 and f32 where that is integer; `observers` takes what the features program
  // gives and has states: parameters, and the ranges of what it sees; `rebuild` lists how the integers follow.
  std::optional<Program> standby;
  std::optional<Program> observers;
  std::optional<Program> rebuild;
  std::vector<WeightPiece> weights;  // ascending offsets, no overlap; gaps are written as zeros
  std::optional<Preprocessing> preprocessing;
  std::string quantization_report;              // JSON text, empty when none
  std::map<std::string, std::string> metadata;  // keys are not empty

  // End of the last piece.
  int64_t weights_bytes() const;
};

// Everything that is true of a model that may be written or was read: programs verified, inputs and outputs of all
// programs agree, preprocessing in range, pieces in order.
Status verify_model(const ModelFile& model);

// Whether weights are stored compressed. kAuto: when that saves at least a tenth of them (of f32 a fifth) and 4 KiB;
// below, the time that expanding takes at each load (3 ms a MiB, five times the digest) buys too little.
enum class Compression : uint8_t { kAuto = 0, kNever = 1, kAlways = 2 };

struct WriteOptions {
  Compression compression = Compression::kAuto;  // kAlways: when it saves anything at all
};

// The bytes of the file. Same model and options, same bytes.
Result<std::vector<std::byte>> serialize(const ModelFile& model, const WriteOptions& options = {});

// What a file takes, and of it the weights: as they are, and as they are stored (less where they are compressed).
struct WrittenBytes {
  int64_t file_bytes = 0;
  int64_t weights_bytes = 0;
  int64_t stored_weights_bytes = 0;
};

// Writes through a temporary file in the same folder, so that `path` is either the old file or the whole new one. Holds
// nothing of the file in memory but structured sections and compressed weights.
Result<WrittenBytes> write_model_file(const std::string& path, const ModelFile& model,
                                      const WriteOptions& options = {});

class ModelReader;
// Everything that an open file holds, verified, all weights included (one piece).
Result<ModelFile> read_whole_model(const std::shared_ptr<const ModelReader>& reader);
// The same of a file.
Result<ModelFile> read_model_file(const std::string& path);
// The same from memory; the weights are copied.
Result<ModelFile> parse_model(std::span<const std::byte> bytes);

}  // namespace hai::format

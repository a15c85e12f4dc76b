// ModelFile: what a .hai file holds, in memory, and how it is written and read whole.
//
// The container's bytes are described in container.h. This is for the tools and the compiler, which hold a model in
// memory anyway; the runtime reads through ModelReader (reader.h), which never has the weights resident as a whole.
#pragma once

#include <array>
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

namespace hai::format {

// What a picture goes through before it becomes an input. Numbers are written into files: never renumber.
enum class ColorOrder : uint8_t { kRgb = 0, kBgr = 1, kGray = 2 };
enum class PictureLayout : uint8_t { kNchw = 0, kNhwc = 1 };
enum class ResizeRule : uint8_t {
  kShortSide = 0,  // the shorter side becomes resize_size, then a centred crop of width x height
  kLetterbox = 1,  // fits whole into width x height, the rest is pad_value
  kStretch = 2,    // to width x height, whatever the aspect
};
enum class Interpolation : uint8_t { kNearest = 0, kBilinear = 1, kBicubic = 2 };

struct Preprocessing {
  std::string input;  // name of the model's input
  int32_t width = 0;  // of the input, pixels: 1..65536
  int32_t height = 0;
  ColorOrder color_order = ColorOrder::kRgb;
  PictureLayout layout = PictureLayout::kNchw;
  ResizeRule resize_rule = ResizeRule::kStretch;
  Interpolation interpolation = Interpolation::kBilinear;
  int32_t resize_size = 0;             // kShortSide only: shorter side before the crop, pixels
  std::array<float, 3> mean{0, 0, 0};  // x = (pixel - mean) * scale, pixel in 0..255, channels in color_order
  std::array<float, 3> scale{1, 1, 1};
  float pad_value = 0;  // pixel value around a letterboxed picture
  bool operator==(const Preprocessing&) const = default;
};

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
  std::vector<Program> programs;     // at most one per device
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

// The bytes of the file. Same model, same bytes.
Result<std::vector<std::byte>> serialize(const ModelFile& model);

// Writes through a temporary file in the same folder, so that `path` is either the old file or the whole new one. Never
// holds the file in memory.
Status write_model_file(const std::string& path, const ModelFile& model);

// Reads and verifies everything, all weights included (one piece).
Result<ModelFile> read_model_file(const std::string& path);
// The same from memory; the weights are copied.
Result<ModelFile> parse_model(std::span<const std::byte> bytes);

}  // namespace hai::format

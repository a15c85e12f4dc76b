// Preprocessing: how a picture becomes a model's input. Written into the .hai file, so that calibration, evaluation and
// the field feed a model through the same code (data/preprocess.h) with the same numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace hai {

enum class ColorOrder : uint8_t { kRgb = 0, kBgr = 1, kGray = 2 };
enum class PixelLayout : uint8_t { kNchw = 0, kNhwc = 1 };

// How a picture of any size becomes width x height.
enum class ResizeRule : uint8_t {
  kShortSideCrop = 0,  // shorter side to `short_side`, keeping the aspect, then the centre
  kStretch = 1,        // both sides, aspect not kept
  kLetterbox = 2,      // as large as fits, aspect kept, the rest filled with `pad_value`, centred
};

struct Preprocessing {
  int32_t width = 224;
  int32_t height = 224;
  ColorOrder color = ColorOrder::kRgb;
  PixelLayout layout = PixelLayout::kNchw;
  ResizeRule resize = ResizeRule::kShortSideCrop;
  int32_t short_side = 256;  // kShortSideCrop only
  uint8_t pad_value = 114;   // kLetterbox only
  // y = (x - mean[c]) * scale[c] of x in 0..255, in the order of `color`.
  std::array<float, 3> mean{0.0F, 0.0F, 0.0F};
  std::array<float, 3> scale{1.0F, 1.0F, 1.0F};
  std::string input;  // name of the model input it is for; empty: the only one

  int channels() const { return color == ColorOrder::kGray ? 1 : 3; }
  bool operator==(const Preprocessing&) const = default;
};

}  // namespace hai

// Preprocessing: how a picture becomes a model's input. Written into the .hai file, so that calibration, evaluation and
// the field feed a model through the same code (data/preprocess.h) with the same numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace hai {

// Numbers are written into files: never renumber.
enum class ColorOrder : uint8_t { kRgb = 0, kBgr = 1, kGray = 2 };
enum class PictureLayout : uint8_t { kNchw = 0, kNhwc = 1 };

// How a picture of any size becomes width x height.
enum class ResizeRule : uint8_t {
  kShortSide = 0,  // the shorter side becomes resize_size, keeping the aspect, then a centred crop of width x height
  kLetterbox = 1,  // as large as fits, aspect kept, centred; the rest is pad_value
  kStretch = 2,    // to width x height, whatever the aspect
  // As kLetterbox, but the picture is at the top left and its sides are cut down to whole pixels, not rounded. A rule
  // of its own and not a field beside kLetterbox: a reader that does not know it must refuse it, not centre the
  // picture.
  kLetterboxTopLeft = 3,
};
constexpr bool is_letterbox(ResizeRule rule) {
  return rule == ResizeRule::kLetterbox || rule == ResizeRule::kLetterboxTopLeft;
}
enum class Interpolation : uint8_t { kNearest = 0, kBilinear = 1, kBicubic = 2 };

struct Preprocessing {
  std::string input;  // name of the model's input
  int32_t width = 0;  // of the input, pixels
  int32_t height = 0;
  ColorOrder color_order = ColorOrder::kRgb;
  PictureLayout layout = PictureLayout::kNchw;
  ResizeRule resize_rule = ResizeRule::kStretch;
  Interpolation interpolation = Interpolation::kBilinear;
  int32_t resize_size = 0;             // kShortSide only: shorter side before the crop, pixels; else 0
  std::array<float, 3> mean{0, 0, 0};  // x = (pixel - mean) * scale, pixel in 0..255, channels in color_order
  std::array<float, 3> scale{1, 1, 1};
  float pad_value = 0;  // pixel value around a letterboxed picture

  int channels() const { return color_order == ColorOrder::kGray ? 1 : 3; }
  bool operator==(const Preprocessing&) const = default;
};

}  // namespace hai

// Where each output row (or column) of a resize reads: the same numbers for the reference and every device.
//
// All of it in f64 with +, -, *, / and floor only, so that it is the same on every machine. The definitions are those
// of ONNX Resize: half_pixel x = (i + 0.5) / s - 0.5; pytorch_half_pixel the same, but 0 for an output of one;
// asymmetric x = i / s; align_corners x = i * (in - 1) / (out - 1), 0 for an output of one. s is the scale given, else
// out / in.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace hai {

enum class ResizeCoordinates : uint8_t { kHalfPixel, kPytorchHalfPixel, kAsymmetric, kAlignCorners };
enum class ResizeNearest : uint8_t { kRoundPreferFloor, kRoundPreferCeil, kFloor, kCeil };

std::optional<ResizeCoordinates> resize_coordinates_from(std::string_view name);
std::optional<ResizeNearest> resize_nearest_from(std::string_view name);

// One axis of a resize. Precondition: sizes >= 1, scale > 0 and finite.
struct ResizeAxis {
  int64_t in = 1;
  int64_t out = 1;
  double scale = 1.0;
  ResizeCoordinates coordinates = ResizeCoordinates::kHalfPixel;

  double source(int64_t index) const;  // may lie outside of [0, in - 1]
};

// Row read by output row `index`, in [0, in).
int64_t resize_nearest_index(const ResizeAxis& axis, ResizeNearest rounding, int64_t index);

// Rows read by output row `index` and their weights: value = x[first] * (1 - fraction) + x[second] * fraction, or in
// integers (x[first] * (HAI_RESIZE_ONE - weight) + x[second] * weight) / HAI_RESIZE_ONE. Positions outside are moved to
// the edge.
struct ResizeTap {
  int64_t first = 0;
  int64_t second = 0;
  double fraction = 0.0;
  int32_t weight = 0;  // round_half_even(fraction * HAI_RESIZE_ONE)
};
ResizeTap resize_linear_tap(const ResizeAxis& axis, int64_t index);

}  // namespace hai

// Source positions of a resize: see the header for the definitions.
//
// Invariant: every index returned lies in [0, in), whatever the scale: positions are clamped before they become
// integers, since a hostile scale can put them past 2^63.
#include "types/resize_map.h"

#include <algorithm>
#include <cmath>

#include "types/arithmetic.h"

namespace hai {

std::optional<ResizeCoordinates> resize_coordinates_from(std::string_view name) {
  if (name == "half_pixel") return ResizeCoordinates::kHalfPixel;
  if (name == "pytorch_half_pixel") return ResizeCoordinates::kPytorchHalfPixel;
  if (name == "asymmetric") return ResizeCoordinates::kAsymmetric;
  if (name == "align_corners") return ResizeCoordinates::kAlignCorners;
  return std::nullopt;
}

std::optional<ResizeNearest> resize_nearest_from(std::string_view name) {
  if (name == "round_prefer_floor") return ResizeNearest::kRoundPreferFloor;
  if (name == "round_prefer_ceil") return ResizeNearest::kRoundPreferCeil;
  if (name == "floor") return ResizeNearest::kFloor;
  if (name == "ceil") return ResizeNearest::kCeil;
  return std::nullopt;
}

double ResizeAxis::source(int64_t index) const {
  const auto position = static_cast<double>(index);
  switch (coordinates) {
    case ResizeCoordinates::kPytorchHalfPixel:
      return out > 1 ? (position + 0.5) / scale - 0.5 : 0.0;
    case ResizeCoordinates::kAsymmetric:
      return position / scale;
    case ResizeCoordinates::kAlignCorners:
      return out > 1 ? position * static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0.0;
    case ResizeCoordinates::kHalfPixel:
      break;
  }
  return (position + 0.5) / scale - 0.5;
}

int64_t resize_nearest_index(const ResizeAxis& axis, ResizeNearest rounding, int64_t index) {
  const double position = axis.source(index);
  double rounded = 0.0;
  switch (rounding) {
    case ResizeNearest::kRoundPreferFloor:
      rounded = std::ceil(position - 0.5);
      break;
    case ResizeNearest::kRoundPreferCeil:
      rounded = std::floor(position + 0.5);
      break;
    case ResizeNearest::kFloor:
      rounded = std::floor(position);
      break;
    case ResizeNearest::kCeil:
      rounded = std::ceil(position);
      break;
  }
  return static_cast<int64_t>(std::clamp(rounded, 0.0, static_cast<double>(axis.in - 1)));
}

ResizeTap resize_linear_tap(const ResizeAxis& axis, int64_t index) {
  const double position = std::clamp(axis.source(index), 0.0, static_cast<double>(axis.in - 1));
  const double below = std::floor(position);
  ResizeTap tap;
  tap.first = static_cast<int64_t>(below);
  tap.second = std::min(tap.first + 1, axis.in - 1);
  tap.fraction = position - below;
  tap.weight = static_cast<int32_t>(hai_round_half_even_f64(tap.fraction * HAI_RESIZE_ONE));
  return tap;
}

}  // namespace hai

// Windows of a pool over height and width: which elements each one sees and what an average divides by.
//
// The functions take one axis (0 height, 1 width), the size of the input along it and the index of the window. They
// hold for windows that shape_rules::pool() accepted for that size.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/checked.h"

namespace hai {

struct PoolWindow {
  std::array<int64_t, 2> kernel{1, 1};
  std::array<int64_t, 2> strides{1, 1};
  std::array<int64_t, 4> pads{};  // top, left, bottom, right
  std::array<int64_t, 2> dilations{1, 1};
  bool ceil_mode = false;  // a last window may reach past the padded input, as long as it starts before the end padding
  bool count_padding = false;  // an average divides by the padding it covers too
};

// Taps of one window that lie inside: `count` positions from `first`, `dilation` apart.
struct TapRange {
  int64_t first = 0;
  int64_t count = 0;
};

inline TapRange inside_taps(const PoolWindow& window, size_t axis, int64_t size, int64_t index) {
  const int64_t start = index * window.strides[axis] - window.pads[axis];
  const int64_t dilation = window.dilations[axis];
  const int64_t skipped = start < 0 ? ceil_div(-start, dilation) : 0;
  const int64_t end = std::min(window.kernel[axis], start < size ? ceil_div(size - start, dilation) : 0);
  return {start + skipped * dilation, std::max<int64_t>(0, end - skipped)};
}

// What an average divides by along one axis (dilation 1): the taps inside, or inside and in the padding; what ceil_mode
// lets reach past the padding never counts.
inline int64_t pool_divisor(const PoolWindow& window, size_t axis, int64_t size, int64_t index) {
  if (!window.count_padding) return inside_taps(window, axis, size, index).count;
  const int64_t start = index * window.strides[axis] - window.pads[axis];
  return std::min(start + window.kernel[axis], size + window.pads[axis + 2]) - start;
}

// Bounds of the divisor over all windows of an axis. Going along the axis it rises and then falls, so that the least is
// at one end; the largest is the whole kernel, or what fits.
struct DivisorBounds {
  int64_t least = 1;
  int64_t largest = 1;
};
inline DivisorBounds pool_divisor_bounds(const PoolWindow& window, size_t axis, int64_t size, int64_t out_size) {
  return {std::min(pool_divisor(window, axis, size, 0), pool_divisor(window, axis, size, out_size - 1)),
          window.count_padding ? window.kernel[axis] : std::min(window.kernel[axis], size)};
}

}  // namespace hai

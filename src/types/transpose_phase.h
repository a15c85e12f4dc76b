// Phases of a transposed convolution along one axis: outputs i with the same i mod stride use the same taps, so each
// phase is an ordinary convolution of stride 1 whose results are stored `stride` apart.
//
// For phase r, tap k counts when (r + pad - k d) is a multiple of the stride s; such taps are s / gcd(s, d) apart and
// read the input d / gcd(s, d) apart, backwards.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "base/checked.h"

namespace hai {

// Which taps, and the convolution that they make. `pad` may be negative: the window starts that far inside.
struct PhaseAxis {
  std::vector<int64_t> taps;  // in the order of growing input positions
  int64_t dilation = 1;
  int64_t pad = 0;
  int64_t outputs = 0;
};

inline PhaseAxis phase_axis(int64_t r, int64_t taps, int64_t stride, int64_t dilation, int64_t pad, int64_t outputs) {
  PhaseAxis out;
  out.outputs = outputs > r ? ceil_div(outputs - r, stride) : 0;
  out.dilation = dilation / std::gcd(stride, dilation);
  for (int64_t k = taps - 1; k >= 0; --k) {
    const int64_t at = r + pad - k * dilation;
    if (at % stride != 0) continue;
    if (out.taps.empty()) out.pad = -(at / stride);
    out.taps.push_back(k);
  }
  return out;
}

}  // namespace hai

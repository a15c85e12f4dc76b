// Quantization: how an integer tensor stands for real numbers. real = scale * (q - zero_point).
//
// Per tensor: one scale and one zero point. Per axis (weights): scales.size() == dims[axis], zero points all zero
// unless an imported model brought its own. Block-wise (imported models): `block` elements along `axis` share a scale;
// scales are then stored with the block index in place of the axis, row-major.
#pragma once

#include <cstdint>
#include <vector>

namespace hai {

struct Quantization {
  std::vector<float> scales;         // finite, > 0
  std::vector<int32_t> zero_points;  // same length as scales; within the element type
  int32_t axis = -1;                 // -1: per tensor
  int64_t block = 0;                 // 0: not block-wise

  bool per_tensor() const { return axis < 0; }
  bool operator==(const Quantization&) const = default;
};

inline Quantization per_tensor_quantization(float scale, int32_t zero_point) { return {{scale}, {zero_point}, -1, 0}; }

}  // namespace hai

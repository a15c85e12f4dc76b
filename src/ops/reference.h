// What the references share: elements of any type as f64 or as integers, index arithmetic, output ranges.
//
// References favour clarity: they read whole tensors into vectors, compute in f64 (rounding once when they store) or in
// exact integers (types/arithmetic.h), and write back.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "ops/op_schema.h"
#include "types/arithmetic.h"
#include "types/tensor_view.h"

namespace hai::ops {

// --- one element; `i` counts elements in row-major order ---
// Floats as they are, integers and bool as numbers (their quantization is not applied).
double load_f64(const TensorView& view, int64_t i);
// Rounds once to the element type; integers: nearest, half to even, clamped to the type, NaN becomes the least value.
void store_f64(const MutableTensorView& view, int64_t i, double value);
// Integer types, nibbles and bool. u64 above 2^63 - 1 does not occur in graphs HAI makes and reads as it wraps.
int64_t load_integer(const TensorView& view, int64_t i);
// Keeps the low bits. Precondition: the value fits the type.
void store_integer(const MutableTensorView& view, int64_t i, int64_t value);

// --- whole tensors ---
std::vector<double> load_all_f64(const TensorView& view);
std::vector<int64_t> load_all_integers(const TensorView& view);
void store_all_f64(const MutableTensorView& view, std::span<const double> values);
void store_all_integers(const MutableTensorView& view, std::span<const int64_t> values);

// --- quantization ---
// Per-tensor parameters; scale 1 and zero point 0 when there are none.
inline float scale_of(const Quantization* quantization) { return quantization ? quantization->scales[0] : 1.0F; }
inline int32_t zero_point_of(const Quantization* quantization) {
  return quantization ? quantization->zero_points[0] : 0;
}
template <typename Pointer>
float scale_of(const BasicTensorView<Pointer>& view) {
  return scale_of(view.quantization);
}
template <typename Pointer>
int32_t zero_point_of(const BasicTensorView<Pointer>& view) {
  return zero_point_of(view.quantization);
}
template <typename Pointer>
bool is_quantized(const BasicTensorView<Pointer>& view) {
  return is_integer(view.dtype) && view.quantization != nullptr;
}
// Full range of the element type (at most 32 bits) around the tensor's zero point.
template <typename Pointer>
hai_output_range output_range(const BasicTensorView<Pointer>& view) {
  return {zero_point_of(view), static_cast<int32_t>(integer_min(view.dtype)),
          static_cast<int32_t>(integer_max(view.dtype))};
}

// --- indices ---
using Index = std::array<int64_t, kMaxRank>;
// Elements between neighbours along each axis of a dense tensor.
Index strides_of(const Dims& dims);
// Strides that read `dims` as if broadcast to `to`: 0 along broadcast axes. Precondition: broadcastable.
Index broadcast_strides(const Dims& dims, const Dims& to);
// Calls body(index) for every index of `dims` in row-major order (once for rank 0, never when a size is 0).
template <typename Body>
void for_each_index(const Dims& dims, Body&& body) {
  Index index{};
  const int64_t count = dims.count();
  for (int64_t n = 0; n < count; ++n) {
    body(static_cast<const Index&>(index));
    for (int axis = dims.rank - 1; axis >= 0; --axis) {
      const auto a = static_cast<size_t>(axis);
      if (++index[a] < dims[axis]) break;
      index[a] = 0;
    }
  }
}
inline int64_t offset_of(const Index& index, const Index& strides, int rank) {
  int64_t offset = 0;
  for (size_t axis = 0; axis < static_cast<size_t>(rank); ++axis) offset += index[axis] * strides[axis];
  return offset;
}

}  // namespace hai::ops

// Which scale and zero point belong to an element: one for the tensor, one a slice of an axis, or one a block of it.
#pragma once

#include "base/result.h"
#include "ir/graph.h"
#include "types/quantization.h"
#include "types/shape.h"

namespace hai::ops {

// Axis within the rank, as many scales as slices or blocks, static sizes where they are counted.
Status check_quantized_axis(const ir::TensorType& type);

class QuantizedAxis {
 public:
  // Precondition: check_quantized_axis passed for the tensor's type.
  QuantizedAxis(const Quantization& quantization, const Dims& dims);
  // Index into scales and zero_points for element i (row-major).
  size_t slice_of(int64_t i) const;

 private:
  int64_t inner_ = 1;    // elements between neighbours along the axis
  int64_t size_ = 1;     // of the axis; 1 for per-tensor
  int64_t block_ = 1;    // elements of the axis that share a scale
  bool blocks_ = false;  // scales are stored row-major with the block index in place of the axis
};

}  // namespace hai::ops

// Scales per axis and per block.
//
// Per axis: index = position along the axis. Block-wise: scales have the tensor's shape with the axis divided by the
// block (rounded up), row-major.
#include "ops/quantized_axis.h"

#include "base/checked.h"

namespace hai::ops {

Status check_quantized_axis(const ir::TensorType& type) {
  const Quantization& quantization = *type.quantization;
  int64_t wanted = 1;
  if (!quantization.per_tensor()) {
    const auto axis = static_cast<size_t>(quantization.axis);
    if (axis >= type.shape.size() || quantization.block < 0) {
      return make_error(StatusCode::kInvalidArgument, "O214", "quantization axis {} or block {} does not fit rank {}",
                        quantization.axis, quantization.block, type.shape.size());
    }
    for (size_t i = 0; i < type.shape.size(); ++i) {
      const int64_t size = type.shape[i].value;
      const bool counted = i == axis || quantization.block > 0;
      if (!counted) continue;
      const int64_t slices = i == axis && quantization.block > 0 ? ceil_div(size, quantization.block) : size;
      const auto product = type.shape[i].is_symbolic() ? std::nullopt : checked_mul(wanted, slices);
      wanted = product.value_or(-1);
      if (!product) break;
    }
  }
  if (wanted == static_cast<int64_t>(quantization.scales.size())) return {};
  return make_error(StatusCode::kInvalidArgument, "O215", "quantization has {} scales, the tensor needs {}",
                    quantization.scales.size(), wanted);
}

QuantizedAxis::QuantizedAxis(const Quantization& quantization, const Dims& dims) {
  if (quantization.per_tensor()) return;
  size_ = dims[quantization.axis];
  for (int axis = quantization.axis + 1; axis < dims.rank; ++axis) inner_ *= dims[axis];
  blocks_ = quantization.block > 0;
  block_ = blocks_ ? quantization.block : 1;
}

size_t QuantizedAxis::slice_of(int64_t i) const {
  const int64_t position = i / inner_ % size_;
  if (!blocks_) return static_cast<size_t>(position);
  const int64_t outer = i / inner_ / size_;
  const int64_t blocks = ceil_div(size_, block_);
  return static_cast<size_t>((outer * blocks + position / block_) * inner_ + i % inner_);
}

}  // namespace hai::ops

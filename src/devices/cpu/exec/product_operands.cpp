// Reading the operands of a product from an instruction.
//
// A program may come from anyone: every operand is checked before it is touched. Weights that integer kernels cannot
// read as they are become q - zero_point here: i8 where that fits (a nibble a byte, which packing puts together again),
// else i16. The copy lives until the weights are packed.
#include "devices/cpu/exec/product_operands.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"

namespace hai::cpu {
namespace {

// The stored integers of any type up to 16 bits.
int32_t stored_weight(const TensorView& view, int64_t i) {
  switch (view.dtype) {
    case DataType::kI16:
      return data_of<int16_t>(view)[i];
    case DataType::kI8:
      return data_of<int8_t>(view)[i];
    case DataType::kU8:
      return data_of<uint8_t>(view)[i];
    default: {
      const int nibble = (data_of<uint8_t>(view)[i / 2] >> (4 * (i % 2))) & 0xf;
      return view.dtype == DataType::kI4 && nibble >= 8 ? nibble - 16 : nibble;
    }
  }
}

// Scales and zero points: one, one for each of `channels`, or (with `blocks`) one for each block of a matrix.
Status check_weight_quantization(const KernelContext& context, const Dims& dims, int channel_axis, int block_axis) {
  const format::ProgramTensor& weights = *context.inputs[1];
  if (!weights.quantization) return context.refuse("the weights are integers without a scale");
  const Quantization& quantization = *weights.quantization;
  int64_t wanted = 1;
  if (quantization.block != 0) {
    const bool fits = block_axis >= 0 && quantization.axis == block_axis && quantization.block > 0 && dims.rank == 2;
    if (!fits) return context.refuse("the weights have scales for blocks, which only a matrix and an f32 x may have");
    wanted = ceil_div(dims[block_axis], std::min(quantization.block, dims[block_axis])) * dims[channel_axis];
  } else if (!quantization.per_tensor()) {
    wanted = dims[channel_axis];
  }
  const auto count = static_cast<size_t>(wanted);
  if (quantization.scales.size() != count || quantization.zero_points.size() != count) {
    return context.refuse(fmt::format("the weights need {} scales and zero points", wanted));
  }
  for (size_t i = 0; i < count; ++i) {
    const float scale = quantization.scales[i];
    const int32_t zero_point = quantization.zero_points[i];
    const bool sound = std::isfinite(scale) && scale > 0.0F && zero_point >= integer_min(weights.dtype) &&
                       zero_point <= integer_max(weights.dtype);
    if (!sound) return context.refuse(fmt::format("scale {} or zero point {} of the weights", scale, zero_point));
  }
  return {};
}

// q - zero_point for integer kernels: i8 or i16, whichever holds them.
void centre_weights(ProductInputs& inputs, const TensorView& constant, const Quantization& quantization,
                    int channel_axis) {
  int64_t inner = 1;
  for (int axis = channel_axis + 1; axis < constant.dims.rank; ++axis) inner *= constant.dims[axis];
  const int64_t channels = constant.dims[channel_axis];
  const bool one = quantization.per_tensor();
  int32_t least = 0;
  int32_t greatest = 0;
  inputs.i16.resize(static_cast<size_t>(constant.count()));
  for (int64_t i = 0; i < constant.count(); ++i) {
    const int32_t zero_point = quantization.zero_points[one ? 0 : static_cast<size_t>(i / inner % channels)];
    const int32_t weight = stored_weight(constant, i) - zero_point;
    least = std::min(least, weight);
    greatest = std::max(greatest, weight);
    inputs.i16[static_cast<size_t>(i)] = static_cast<int16_t>(weight);
  }
  inputs.weights.nibbles = least >= -8 && greatest <= 7 && bit_width(constant.dtype) == 4;
  if (least < INT8_MIN || greatest > INT8_MAX) {
    inputs.weights.i16 = inputs.i16.data();
    return;
  }
  inputs.i8.assign(inputs.i16.begin(), inputs.i16.end());
  inputs.i16 = {};
  inputs.weights.i8 = inputs.i8.data();
}

// Integers and scales apart, for kernels that turn panels into f32. Unsigned integers are moved by half their range.
void read_scaled_weights(ProductInputs& inputs, const TensorView& constant, const Quantization& quantization,
                         int channel_axis) {
  const int32_t middle = is_unsigned_integer(constant.dtype) ? 1 << (bit_width(constant.dtype) - 1) : 0;
  inputs.weights.nibbles = bit_width(constant.dtype) == 4;
  inputs.i8.resize(static_cast<size_t>(constant.count()));
  for (int64_t i = 0; i < constant.count(); ++i) {
    inputs.i8[static_cast<size_t>(i)] = static_cast<int8_t>(stored_weight(constant, i) - middle);
  }
  inputs.weights.i8 = inputs.i8.data();
  auto scales = std::make_shared<WeightScales>();
  const int64_t channels = constant.dims[channel_axis];
  const int64_t blocks = quantization.block == 0 ? 1 : static_cast<int64_t>(quantization.scales.size()) / channels;
  scales->block = quantization.block;
  bool zeros = false;
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t at = quantization.per_tensor() ? 0 : channel_axis == 0 ? c * blocks + block : block * channels + c;
      scales->scales.push_back(quantization.scales[static_cast<size_t>(at)]);
      scales->minus_zeros.push_back(static_cast<float>(middle - quantization.zero_points[static_cast<size_t>(at)]));
      zeros = zeros || scales->minus_zeros.back() != 0.0F;
    }
  }
  if (!zeros) scales->minus_zeros = {};
  inputs.weights.scales = std::move(scales);
}

}  // namespace

Result<ProductInputs> read_product_inputs(const KernelContext& context, size_t residual_operand, int channel_axis,
                                          int block_axis) {
  const size_t most = residual_operand == SIZE_MAX ? 3 : residual_operand + 1;
  if (context.inputs.size() < 2 || context.inputs.size() > most || context.inputs[0] == nullptr ||
      context.inputs[1] == nullptr || context.outputs.size() != 1 || context.outputs[0] == nullptr) {
    return context.refuse(fmt::format("takes 2 to {} operands and gives one result", most));
  }
  ProductInputs out;
  out.operands.residual = residual_operand;
  out.x_dtype = context.inputs[0]->dtype;
  const DataType weights = context.inputs[1]->dtype;
  const TensorView& constant = context.constants[1];
  if (constant.data == nullptr) return context.refuse("the weights must be a constant");
  if (out.x_dtype == DataType::kF32 && weights == DataType::kF32) {
    out.weights.f32 = data_of<float>(constant);
    return out;
  }
  const bool wide = out.x_dtype == DataType::kI16;
  const bool integers = out.x_dtype == DataType::kI8 || out.x_dtype == DataType::kU8 || wide;
  const bool small = weights == DataType::kI8 || weights == DataType::kU8 || bit_width(weights) == 4;
  if (!(small && (integers || out.x_dtype == DataType::kF32)) && !(wide && weights == DataType::kI16)) {
    return context.refuse(fmt::format(
        "{} with weights of {}: the CPU has f32 with f32, f32, i8, u8 or i16 with i8, u8, i4 or u4, and i16 "
        "with i16",
        data_type_name(out.x_dtype), data_type_name(weights)));
  }
  if (constant.dtype != weights || constant.dims.rank <= channel_axis || constant.count() < 1) {
    return context.refuse("the weights have no elements, or another type or rank than their constant");
  }
  HAI_TRY_STATUS(check_weight_quantization(context, constant.dims, channel_axis, integers ? -1 : block_axis));
  const Quantization& quantization = *context.inputs[1]->quantization;
  if (!integers) {
    read_scaled_weights(out, constant, quantization, channel_axis);
    return out;
  }
  HAI_TRY(const RoundingPoint x, one_scale(context, *context.inputs[0], "x"));
  out.x_zero_point = x.zero_point;
  const bool symmetric = std::all_of(quantization.zero_points.begin(), quantization.zero_points.end(),
                                     [](int32_t zero_point) { return zero_point == 0; });
  if (symmetric && weights == DataType::kI16) {
    out.weights.i16 = data_of<int16_t>(constant);
  } else if (symmetric && weights == DataType::kI8) {
    out.weights.i8 = data_of<int8_t>(constant);
  } else {
    centre_weights(out, constant, quantization, channel_axis);
  }
  return out;
}

std::vector<float> real_weights(const ProductInputs& inputs, int64_t channels, int64_t length) {
  const WeightScales& scales = *inputs.weights.scales;
  std::vector<float> out(static_cast<size_t>(channels * length));
  for (int64_t c = 0; c < channels; ++c) {
    const auto at = static_cast<size_t>(c);
    const float minus_zero = scales.minus_zeros.empty() ? 0.0F : scales.minus_zeros[at];
    for (int64_t i = c * length; i < (c + 1) * length; ++i) {
      const auto element = static_cast<size_t>(i);
      out[element] = (static_cast<float>(inputs.weights.i8[i]) + minus_zero) * scales.scales[at];
    }
  }
  return out;
}

}  // namespace hai::cpu

// Sample operands of convolutions and matrix products.
//
// Integer sums spread over the output's range: uniform integers have a standard deviation of 74,
// so a sum of `depth` products has one of 74^2 sqrt(depth); the output's scale puts that at some 40 steps.
#include "ops/product_samples.h"

#include <cmath>

#include "base/checked.h"

namespace hai::ops {
namespace {

constexpr float kScaleX = 0.02F;
constexpr float kScaleWeights = 0.003F;

ir::TensorType typed(DataType dtype, Shape shape, float scale, int32_t zero_point) {
  ir::TensorType type{dtype, std::move(shape), std::nullopt};
  if (is_integer(dtype)) type.quantization = per_tensor_quantization(scale, zero_point);
  return type;
}

int32_t zero_point_for(DataType dtype, int32_t offset) {
  if (dtype == DataType::kU8) return 128 + offset;
  return dtype == DataType::kI16 ? 100 * offset : offset;
}

SampleInput weights_input(const ProductTypes& types, Shape shape, int channel_axis) {
  SampleInput out;
  out.constant = true;
  out.type = typed(types.weights, shape, kScaleWeights, 0);
  if (!is_integer(types.weights)) return out;
  const int32_t middle = is_unsigned_integer(types.weights) ? 1 << (bit_width(types.weights) - 1) : 0;
  out.type.quantization->zero_points[0] = middle + (types.weight_zero_points ? -3 : 0);
  if (!types.per_channel) return out;
  Quantization quantization;
  quantization.axis = channel_axis;
  int64_t count = shape[static_cast<size_t>(channel_axis)].value;
  if (types.block > 0) {
    quantization.axis = 1 - channel_axis;
    quantization.block = types.block;
    count *= ceil_div(shape[static_cast<size_t>(quantization.axis)].value, types.block);
  }
  for (int64_t c = 0; c < count; ++c) {
    quantization.scales.push_back(kScaleWeights * (1.0F + 0.5F * static_cast<float>(c % 7)));
    quantization.zero_points.push_back(middle + (types.weight_zero_points ? static_cast<int32_t>(c % 5) * 3 - 6 : 0));
  }
  out.type.quantization = std::move(quantization);
  return out;
}

SampleInput bias_input(const ProductTypes& types, int64_t channels) {
  SampleInput out;
  out.constant = true;
  out.absent = !types.bias;
  out.type.shape = {channels};
  out.type.dtype = types.x == DataType::kF16 ? DataType::kF32 : types.x;
  if (!is_integer(types.x)) return out;
  out.type.dtype = types.x == DataType::kI16 ? DataType::kI64 : DataType::kI32;
  out.integers_in_bounds = true;
  const double width = types.x == DataType::kI16 ? types.weights == DataType::kI16 ? 65536.0 : 256.0 : 1.0;
  out.low = -20000 * width;
  out.high = 20000 * width;
  return out;
}

void set_activation(ir::Attributes& attributes, const std::string& prefix, const std::string& name) {
  if (name == "none") return;
  attributes[prefix] = name;
  if (name == "clip") {
    attributes[prefix + "_lo"] = -0.7;
    attributes[prefix + "_hi"] = 1.1;
  }
  if (name == "leaky_relu") attributes[prefix + "_alpha"] = 0.125;
}

bool is_clamp(const std::string& name) { return name == "none" || name == "relu" || name == "relu6" || name == "clip"; }

}  // namespace

Sample product_sample(std::string name, const ProductTypes& types, Shape x, Shape weights, Shape y, int channel_axis,
                      int64_t depth, const EpilogueSample& epilogue, bool takes_residual) {
  Sample sample;
  sample.name = std::move(name);
  const float width_x = types.x == DataType::kI16 ? 256.0F : 1.0F;
  const float width_w = bit_width(types.weights) == 4 ? 1.0F / 16.0F : types.weights == DataType::kI16 ? 256.0F : 1.0F;
  const float real = kScaleX * kScaleWeights * 5476.0F * width_x * width_w * std::sqrt(static_cast<float>(depth));
  const float scale_y = real / (types.y == DataType::kI16 ? 10000.0F : 40.0F);
  SampleInput input;
  input.type = typed(types.x, std::move(x), kScaleX, zero_point_for(types.x, -3));
  sample.inputs.push_back(std::move(input));
  sample.inputs.push_back(weights_input(types, std::move(weights), channel_axis));
  sample.inputs.push_back(bias_input(types, y.back().value));
  if (takes_residual) {
    SampleInput residual;
    residual.absent = !epilogue.residual;
    residual.type = typed(types.y, y, scale_y * 0.8F, zero_point_for(types.y, 5));
    sample.inputs.push_back(std::move(residual));
  }
  set_activation(sample.attributes, "activation", epilogue.activation);
  set_activation(sample.attributes, "residual_activation", epilogue.residual_activation);
  if (types.x == DataType::kF16) sample.tolerance = 0.0;  // sums have a stated order
  if (!is_integer(types.x)) return sample;
  sample.outputs = {typed(types.y, std::move(y), scale_y, zero_point_for(types.y, -7))};
  if (!is_integer(types.y)) return sample;
  const DataType held = types.wide_points ? DataType::kI16 : types.y;
  const float finer = types.wide_points && types.y != DataType::kI16 ? 1.0F / 16.0F : 1.0F;
  const auto add_point = [&](const std::string& prefix, float steps, int32_t offset) {
    sample.attributes[prefix + "_scale"] = static_cast<double>(scale_y * steps * finer);
    sample.attributes[prefix + "_zero_point"] = int64_t{zero_point_for(held, offset)};
    if (types.wide_points) sample.attributes[prefix + "_bits"] = int64_t{16};
  };
  if (!is_clamp(epilogue.activation)) add_point("conv", 1.25F, 9);
  if (epilogue.residual) add_point("pre_residual", 0.9F, 2);
  return sample;
}

}  // namespace hai::ops

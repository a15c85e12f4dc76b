// Shared parts of operators that move, pool and reduce data: see the header.
//
// A move never changes a stored integer. Where an operator allows another scale (concat, pad, max_pool, reduce_max),
// the change is hai_rescale of types/arithmetic.h. Above 8 bits rescaling and sums go through f64 instead of f32.
#include "ops/data_movement.h"

#include <algorithm>

namespace hai::ops {

int scale_axis_of(const ir::TensorType& type) {
  return type.quantization && !type.quantization->per_tensor() ? type.quantization->axis : -1;
}

Result<ir::TensorType> moved_with_scales(const InferContext& context, size_t operand, Shape shape, int scale_axis) {
  const ir::TensorType& source = input_type(context, operand);
  ir::TensorType out{source.dtype, std::move(shape), source.quantization};
  if (!source.quantization || source.quantization->per_tensor()) return out;
  if (scale_axis < 0 || source.quantization->block != 0) {
    return make_error(StatusCode::kUnsupported, "O300",
                      "operand {} has a scale for each slice of axis {}, which this would tear apart; dequantize first",
                      operand, source.quantization->axis);
  }
  out.quantization->axis = scale_axis;
  return out;
}

Status require_multiplier(float multiplier) {
  if (hai_multiplier_usable(multiplier) != 0) return {};
  return make_error(StatusCode::kOutOfRange, "O301",
                    "the scales of input and output give a multiplier of {}; allowed are 2^-40 to 2^8", multiplier);
}

Status require_rescalable(const ir::TensorType& from, const ir::TensorType& to) {
  if (from.dtype == to.dtype && from.quantization == to.quantization) return {};
  const auto one_scale = [](const ir::TensorType& type) {
    return contains(kQuantizedTypes, type.dtype) && type.quantization && type.quantization->per_tensor() &&
           type.quantization->scales.size() == 1;
  };
  if (from.dtype != to.dtype || !one_scale(from) || !one_scale(to)) {
    return make_error(StatusCode::kInvalidArgument, "O302",
                      "{} cannot take the scale of {}: both must be i8, u8 or i16 with one scale, of one type",
                      data_type_name(from.dtype), data_type_name(to.dtype));
  }
  return require_multiplier(hai_multiplier_ratio(from.quantization->scales[0], to.quantization->scales[0]));
}

Result<ir::TensorType> rescaled_output(const InferContext& context, size_t operand, Shape shape) {
  const ir::TensorType& source = input_type(context, operand);
  const ir::TensorType* declared = declared_type(context, 0);
  const bool follows = declared != nullptr && declared->dtype == source.dtype && is_quantized(source) &&
                       declared->quantization.has_value();
  ir::TensorType out{source.dtype, std::move(shape), follows ? declared->quantization : source.quantization};
  HAI_TRY_STATUS(require_rescalable(source, out));
  return out;
}

Result<PoolWindow> pool_window_of(const ir::Node& node) {
  constexpr int64_t kMax = int64_t{1} << 24;
  PoolWindow window;
  HAI_TRY(const std::vector<int64_t> kernel, bounded_ints(node, "kernel", {1, 1}, 1, kMax));
  HAI_TRY(const std::vector<int64_t> strides, bounded_ints(node, "strides", {1, 1}, 1, kMax));
  HAI_TRY(const std::vector<int64_t> pads, bounded_ints(node, "pads", {0, 0, 0, 0}, 0, INT64_MAX));
  HAI_TRY(const std::vector<int64_t> dilations, bounded_ints(node, "dilations", {1, 1}, 1, kMax));
  HAI_TRY(const int64_t ceil_mode, bounded_int(node, "ceil_mode", 0, 0, 1));
  HAI_TRY(const int64_t count_padding, bounded_int(node, "count_include_pad", 0, 0, 1));
  std::copy(kernel.begin(), kernel.end(), window.kernel.begin());
  std::copy(strides.begin(), strides.end(), window.strides.begin());
  std::copy(pads.begin(), pads.end(), window.pads.begin());
  std::copy(dilations.begin(), dilations.end(), window.dilations.begin());
  window.ceil_mode = ceil_mode != 0;
  window.count_padding = count_padding != 0;
  return window;
}

void move_element(const MutableTensorView& to, int64_t to_index, const TensorView& from, int64_t from_index) {
  const int bits = bit_width(from.dtype);
  if (bits < 8) {
    store_integer(to, to_index, load_integer(from, from_index));
    return;
  }
  const int64_t bytes = bits / 8;
  std::copy_n(from.data + from_index * bytes, bytes, to.data + to_index * bytes);
}

int64_t rescaled(const TensorView& from, const MutableTensorView& to, int64_t value) {
  if (!is_quantized(from) || *from.quantization == *to.quantization) return value;
  const float multiplier = hai_multiplier_ratio(scale_of(from), scale_of(to));
  const auto q = static_cast<int32_t>(value);
  return bit_width(to.dtype) > 8 ? hai_rescale_wide(q, zero_point_of(from), multiplier, output_range(to))
                                 : hai_rescale(q, zero_point_of(from), multiplier, output_range(to));
}

int64_t requantized(DataType from, const MutableTensorView& to, int64_t acc, float multiplier) {
  const hai_output_range out = output_range(to);
  if (bit_width(from) > 8 || bit_width(to.dtype) > 8) return hai_requantize_i64(acc, multiplier, out);
  return hai_requantize_i32(static_cast<int32_t>(acc), multiplier, out);
}

SampleInput sample_input(DataType dtype, Shape shape, std::optional<Quantization> quantization) {
  SampleInput input;
  input.type = {dtype, std::move(shape), std::move(quantization)};
  return input;
}

Sample make_sample(std::string name, std::vector<SampleInput> inputs, ir::Attributes attributes) {
  Sample sample;
  sample.name = std::move(name);
  sample.inputs = std::move(inputs);
  sample.attributes = std::move(attributes);
  return sample;
}

Sample declaring(Sample sample, DataType dtype, Quantization quantization) {
  sample.outputs = {ir::TensorType{dtype, {}, std::move(quantization)}};
  return sample;
}

}  // namespace hai::ops

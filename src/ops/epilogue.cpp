// Shared rules of convolutions and matrix products: see epilogue.h.
//
// The reference applies the rounding points one after the other, each with the function of types/arithmetic.h that the
// unfused operator would use, so that a fused node and the chain it replaces give the same integers.
#include "ops/epilogue.h"

#include <fmt/format.h>

#include <limits>

#include "ops/quantized_axis.h"
#include "types/float_format.h"
#include "types/unary_functions.h"
#include "types/winograd.h"

namespace hai::ops {
namespace {

constexpr DataTypeSet kWeightIntegers = set_of({DataType::kI8, DataType::kI4, DataType::kU8, DataType::kU4});
constexpr DataTypeSet kWideWeightIntegers = kWeightIntegers | set_of({DataType::kI16});

float weight_scale(const Quantization* quantization, int64_t channel) {
  return quantization->per_tensor() ? quantization->scales[0] : quantization->scales[static_cast<size_t>(channel)];
}

Status check_weight_quantization(const OpSchema& schema, const ir::TensorType& weights, int channel_axis,
                                 int block_axis) {
  if (weights.quantization.has_value()) {
    const Quantization& quantization = *weights.quantization;
    const bool blocks = quantization.block > 0 && quantization.axis == block_axis && block_axis >= 0;
    const bool whole = quantization.block == 0 && (quantization.per_tensor() || quantization.axis == channel_axis);
    if (blocks || whole) return check_quantized_axis(weights);
  }
  return make_error(StatusCode::kUnsupported, "O701",
                    "integer weights of {} need one scale, or one scale for each entry of axis {}{}", schema.name,
                    channel_axis, block_axis < 0 ? "" : fmt::format(", or for each block of axis {}", block_axis));
}

Status check_residual(const InferContext& context, size_t operand, const Shape& shape) {
  const ir::TensorType& residual = input_type(context, operand);
  const ir::TensorType& x = input_type(context, 0);
  if (residual.shape != shape) {
    return make_error(StatusCode::kInvalidArgument, "O702", "operand {} (\"residual\") has shape {}, the output has {}",
                      operand, to_string(residual.shape, context.symbols), to_string(shape, context.symbols));
  }
  const bool fits = is_quantized(x) ? is_quantized(residual) && residual.quantization->per_tensor() &&
                                          contains(kQuantizedTypes, residual.dtype)
                                    : residual.dtype == x.dtype;
  if (fits) return {};
  return make_error(StatusCode::kInvalidArgument, "O703",
                    "operand {} (\"residual\") is {}: it must have x's float type, or be an integer with one scale "
                    "where x is quantized",
                    operand, data_type_name(residual.dtype));
}

}  // namespace

std::vector<AttributeSpec> epilogue_attributes(bool with_residual) {
  std::vector<AttributeSpec> out = {
      {"activation", AttributeKind::kString,
       "none (default), relu, relu6, clip, or an element-wise operator of one operand: applied to sum + bias"},
      {"activation_lo", AttributeKind::kFloat, "least value of clip"},
      {"activation_hi", AttributeKind::kFloat, "greatest value of clip"},
      {"activation_alpha", AttributeKind::kFloat, "first parameter of the activation; its default otherwise"},
      {"activation_beta", AttributeKind::kFloat, "second parameter of the activation; its default otherwise"},
      {"conv_scale", AttributeKind::kFloat,
       "integers with an activation that is no clamp: the scale at which sum + bias is rounded before it"},
      {"conv_zero_point", AttributeKind::kInt, "zero point that belongs to conv_scale"},
      {"conv_bits", AttributeKind::kInt, "16: that value is held in i16; absent: in the output's type"},
      {"rounding", AttributeKind::kString,
       "of integer sums: half_even (default), or fixed_point, which is TensorFlow Lite's, for 8-bit models made there"},
  };
  if (!with_residual) return out;
  out.insert(
      out.end(),
      {{"residual_activation", AttributeKind::kString, "the same choices, applied after the residual"},
       {"residual_activation_lo", AttributeKind::kFloat, "least value of clip"},
       {"residual_activation_hi", AttributeKind::kFloat, "greatest value of clip"},
       {"residual_activation_alpha", AttributeKind::kFloat, "first parameter"},
       {"residual_activation_beta", AttributeKind::kFloat, "second parameter"},
       {"pre_residual_scale", AttributeKind::kFloat,
        "integers with a residual: the scale at which the value is rounded before the addition"},
       {"pre_residual_zero_point", AttributeKind::kInt, "zero point that belongs to pre_residual_scale"},
       {"pre_residual_bits", AttributeKind::kInt, "16: that value is held in i16; absent: in the output's type"}});
  return out;
}

Status check_product_types(const OpSchema& schema, const InferContext& context, int channel_axis, const Dim& channels,
                           int block_axis) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantizedTypes));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, false));
  const ir::TensorType& x = input_type(context, 0);
  const ir::TensorType& weights = input_type(context, 1);
  if (x.dtype == DataType::kF32 && is_integer(weights.dtype)) {
    HAI_TRY_STATUS(require_dtype(schema, context, 1, kWeightIntegers));
    HAI_TRY_STATUS(check_weight_quantization(schema, weights, channel_axis, block_axis));
  } else if (is_float(x.dtype)) {
    HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  } else {
    HAI_TRY_STATUS(
        require_dtype(schema, context, 1, x.dtype == DataType::kI16 ? kWideWeightIntegers : kWeightIntegers));
    HAI_TRY_STATUS(check_weight_quantization(schema, weights, channel_axis, -1));
  }
  if (!has_input(context, 2)) return {};
  HAI_TRY_STATUS(require_vector(schema, context, 2, channels));
  if (x.dtype == DataType::kF16) return require_dtype(schema, context, 2, set_of({DataType::kF16, DataType::kF32}));
  if (is_float(x.dtype)) return require_same_dtype(schema, context, 2, 0);
  return require_dtype(schema, context, 2, set_of({x.dtype == DataType::kI16 ? DataType::kI64 : DataType::kI32}));
}

InferResult infer_product_output(const OpSchema& schema, const InferContext& context, Shape shape, size_t residual) {
  const bool with_residual = has_input(context, residual);
  if (with_residual) HAI_TRY_STATUS(check_residual(context, residual, shape));
  HAI_TRY(const Epilogue epilogue, parse_epilogue(context.node.attributes));
  if (!with_residual && !epilogue.residual_activation.is_none()) {
    return make_error(StatusCode::kInvalidArgument, "O707",
                      "residual_activation is given but no residual: use activation instead");
  }
  const ir::TensorType& x = input_type(context, 0);
  const ir::TensorType* declared = declared_type(context, 0);
  if (epilogue.fixed_point && (!contains(kQuantized8, x.dtype) || (declared != nullptr && is_float(declared->dtype)))) {
    return make_error(StatusCode::kUnsupported, "O709",
                      "rounding fixed_point is for 8-bit x with an integer output; x is {}", data_type_name(x.dtype));
  }
  if (!is_quantized(x)) return std::vector<ir::TensorType>{{x.dtype, std::move(shape), std::nullopt}};
  if (declared != nullptr && declared->dtype == DataType::kF32) {
    if (with_residual || !epilogue.activation.is_none() || !epilogue.residual_activation.is_none()) {
      return make_error(StatusCode::kUnsupported, "O704",
                        "an integer {} with f32 output takes neither activation nor residual; declare an integer "
                        "output or give them nodes of their own",
                        schema.name);
    }
    return std::vector<ir::TensorType>{{DataType::kF32, std::move(shape), std::nullopt}};
  }
  const DataTypeSet outputs = x.dtype == DataType::kI16 ? set_of({DataType::kI16}) : kQuantizedTypes;
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, std::move(shape), 0, outputs));
  HAI_TRY_STATUS(check_integer_epilogue(epilogue, with_residual, y.dtype));
  return std::vector<ir::TensorType>{std::move(y)};
}

std::vector<float> load_all_f32(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.count()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(load_f64(view, static_cast<int64_t>(i)));
  return values;
}

std::vector<double> load_real_weights(const TensorView& view) {
  if (is_float(view.dtype)) return load_all_f64(view);
  const QuantizedAxis parameters(*view.quantization, view.dims);
  std::vector<double> values(static_cast<size_t>(view.count()));
  for (size_t i = 0; i < values.size(); ++i) {
    const auto element = static_cast<int64_t>(i);
    const size_t slice = parameters.slice_of(element);
    values[i] =
        static_cast<double>(hai_dequantize(static_cast<int32_t>(load_integer(view, element)),
                                           view.quantization->scales[slice], view.quantization->zero_points[slice]));
  }
  return values;
}

std::vector<int64_t> load_centred(const TensorView& view, int channel_axis) {
  std::vector<int64_t> values = load_all_integers(view);
  const std::vector<int32_t>& zero_points = view.quantization->zero_points;
  if (view.quantization->per_tensor()) {
    for (int64_t& value : values) value -= zero_points[0];
    return values;
  }
  int64_t inner = 1;
  for (int axis = channel_axis + 1; axis < view.dims.rank; ++axis) inner *= view.dims[axis];
  const int64_t channels = view.dims[channel_axis];
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] -= zero_points[static_cast<size_t>(static_cast<int64_t>(i) / inner % channels)];
  }
  return values;
}

Result<ReferenceEpilogue> ReferenceEpilogue::make(const ReferenceContext& context, int64_t channels,
                                                  const TensorView& residual, const SumForm& form) {
  ReferenceEpilogue out(context, residual);
  out.form_ = form;
  HAI_TRY(out.epilogue_, parse_epilogue(context.node.attributes));
  const bool has_bias = context.inputs.size() > 2 && context.inputs[2].data != nullptr;
  if (is_float(context.inputs[0].dtype)) {
    if (has_bias) out.bias_f64_ = load_all_f64(context.inputs[2]);
    return out;
  }
  if (has_bias) out.bias_ = load_all_integers(context.inputs[2]);
  HAI_TRY_STATUS(out.prepare_integer(context, channels));
  return out;
}

Status ReferenceEpilogue::prepare_integer(const ReferenceContext& context, int64_t channels) {
  const TensorView& x = context.inputs[0];
  const TensorView& weights = context.inputs[1];
  wide_ = x.dtype == DataType::kI16;
  const bool to_float = is_float(y_.dtype);
  const bool adds = residual_.data != nullptr;
  const RoundingPoint last{scale_of(y_), zero_point_of(y_)};
  before_add_ = adds ? *epilogue_.pre_residual : last;
  first_ = epilogue_.activation.is_clamp() ? before_add_ : *epilogue_.conv;
  for (int64_t c = 0; c < channels; ++c) {
    const float s_w =
        static_cast<float>(static_cast<double>(weight_scale(weights.quantization, c)) * form_.weight_factor);
    const float m = hai_multiplier_product(scale_of(x), s_w, to_float ? 1.0F : first_.scale);
    if (hai_multiplier_usable(m) == 0) {
      return make_error(StatusCode::kOutOfRange, "O705",
                        "channel {} has the multiplier {} = s_x * s_w / s_y, outside [2^-40, 2^8]: quantize again", c,
                        m);
    }
    multipliers_.push_back(m);
    if (epilogue_.fixed_point) {
      fixed_.push_back(hai_fixed_point_of(scale_of(x), s_w, first_.scale));
    }
  }
  if (to_float) return {};
  const auto full = [&](const RoundingPoint& point) {
    const DataType held = point.dtype(y_.dtype);
    return hai_output_range{point.zero_point, static_cast<int32_t>(integer_min(held)),
                            static_cast<int32_t>(integer_max(held))};
  };
  table_range_ = full(before_add_);
  first_range_ = full(first_);
  if (epilogue_.activation.is_clamp()) first_range_ = clamp_range(epilogue_.activation, first_.scale, first_range_);
  if (!adds) return {};
  add_range_ = clamp_range(epilogue_.residual_activation, last.scale, full(last));
  multiplier_first_ = hai_multiplier_ratio(before_add_.scale, last.scale);
  multiplier_residual_ = hai_multiplier_ratio(scale_of(residual_), last.scale);
  if (hai_multiplier_usable(multiplier_first_) != 0 && hai_multiplier_usable(multiplier_residual_) != 0) return {};
  return make_error(StatusCode::kOutOfRange, "O708",
                    "the residual addition has the multipliers {} and {}, outside [2^-40, 2^8]: quantize again",
                    multiplier_first_, multiplier_residual_);
}

void ReferenceEpilogue::store_float(int64_t element, int64_t channel, double sum) const {
  double value = bias_f64_.empty() ? sum : sum + bias_f64_[static_cast<size_t>(channel)];
  value = apply_activation(epilogue_.activation, value);
  if (residual_.data != nullptr) value += load_f64(residual_, element);
  store_f64(y_, element, apply_activation(epilogue_.residual_activation, value));
}

// A bias of -0 counts as 0, so that products of 0 never decide the sign of a sum.
float ReferenceEpilogue::half_start(int64_t channel) const {
  return bias_f64_.empty() ? 0.0F : static_cast<float>(bias_f64_[static_cast<size_t>(channel)]) + 0.0F;
}

void ReferenceEpilogue::store_half(int64_t element, float sum) const {
  const auto rounded = [](double value) { return static_cast<double>(hai_f16_to_f32(hai_f64_to_f16(value))); };
  double value = rounded(apply_activation(epilogue_.activation, rounded(static_cast<double>(sum))));
  if (residual_.data != nullptr) value = rounded(value + load_f64(residual_, element));
  store_f64(y_, element, apply_activation(epilogue_.residual_activation, value));
}

int32_t ReferenceEpilogue::first_rounding(int64_t sum, int64_t channel) const {
  if (!fixed_.empty()) {
    return hai_requantize_fixed_point(static_cast<int32_t>(sum), fixed_[static_cast<size_t>(channel)], first_range_);
  }
  const float m = multipliers_[static_cast<size_t>(channel)];
  return wide_ ? hai_requantize_i64(sum, m, first_range_) : hai_winograd_store(sum, m, first_range_);
}

Status ReferenceEpilogue::store_integer_sum(int64_t element, int64_t channel, int64_t sum) const {
  const int64_t total = bias_.empty() ? sum : sum + bias_[static_cast<size_t>(channel)];
  const int64_t limit = wide_ || form_.long_sums ? (int64_t{1} << 53) - 1 : std::numeric_limits<int32_t>::max();
  if (total > limit || total < -limit) {
    return make_error(StatusCode::kOutOfRange, "O706", "the sum {} of channel {} does not fit its accumulator ({})",
                      total, channel, limit);
  }
  if (is_float(y_.dtype)) {
    const float m = multipliers_[static_cast<size_t>(channel)];
    const float real = wide_ ? static_cast<float>(static_cast<double>(total) * static_cast<double>(m))
                             : hai_winograd_real_sum(total) * m;
    store_f64(y_, element, static_cast<double>(real));
    return {};
  }
  int32_t q = first_rounding(total, channel);
  if (!epilogue_.activation.is_clamp()) {
    const Activation& table = epilogue_.activation;
    q = unary_integer(table.function, table.alpha, table.beta, q, first_.scale, first_.zero_point, before_add_.scale,
                      table_range_);
  }
  if (residual_.data != nullptr) {
    q = hai_add(q, static_cast<int32_t>(load_integer(residual_, element)), before_add_.zero_point,
                zero_point_of(residual_), multiplier_first_, multiplier_residual_, add_range_);
  }
  store_integer(y_, element, q);
  return {};
}

}  // namespace hai::ops

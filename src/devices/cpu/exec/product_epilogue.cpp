// Making the epilogue of a product: every number that depends on weights, scales and attributes is worked out here, and
// whatever could go wrong later is refused here.
//
// Integers: M = s_x s_w / s_first per channel, where s_first is the scale of the first rounding point. The true sum
// |bias| + sum |w| * max |q - z| must fit i32 (i16 activations: 53 bits); the kernels' own sums may wrap on the way.
// Formulas: types/arithmetic.h.
#include "devices/cpu/exec/product_epilogue.h"

#include <cmath>
#include <limits>

#include "devices/cpu/exec/product_kernels.h"
#include "types/fixed_point.h"
#include "types/unary_functions.h"

HAI_KERNEL_FAMILY(hai_unary_f32, void, (int32_t, const float*, float*, int64_t, float, float));

namespace hai::cpu {
namespace {

constexpr int64_t kWideLimit = (int64_t{1} << 53) - 1;  // sums of i16 products go through f64

// Of what a rounding point holds, where the output is of type `y`.
hai_output_range full_range(DataType y, const RoundingPoint& point) {
  const DataType dtype = point.dtype(y);
  return {point.zero_point, static_cast<int32_t>(integer_min(dtype)), static_cast<int32_t>(integer_max(dtype))};
}

Status usable(const KernelContext& context, float multiplier, std::string_view what) {
  if (hai_multiplier_usable(multiplier) != 0) return {};
  return context.refuse(
      fmt::format("{} gives the multiplier {}, outside [2^-40, 2^8]: quantize again", what, multiplier));
}

// Zero points are in the weights already (product_operands.cpp).
const Quantization* weight_quantization(const format::ProgramTensor& weights, size_t channels) {
  if (!weights.quantization || weights.quantization->block != 0) return nullptr;
  const size_t wanted = weights.quantization->per_tensor() ? 1 : channels;
  return weights.quantization->scales.size() == wanted ? &*weights.quantization : nullptr;
}

}  // namespace

Result<RoundingPoint> one_scale(const KernelContext& context, const format::ProgramTensor& tensor,
                                std::string_view operand) {
  const bool given = tensor.quantization && tensor.quantization->per_tensor() &&
                     tensor.quantization->scales.size() == 1 && tensor.quantization->zero_points.size() == 1;
  if (!given) return context.refuse(fmt::format("{} must have one scale and zero point", operand));
  const RoundingPoint point{tensor.quantization->scales[0], tensor.quantization->zero_points[0]};
  const bool sound = std::isfinite(point.scale) && point.scale > 0.0F &&
                     point.zero_point >= integer_min(tensor.dtype) && point.zero_point <= integer_max(tensor.dtype);
  if (!sound) return context.refuse(fmt::format("{} has a scale or zero point outside of its type", operand));
  return point;
}

Result<ProductEpilogue> ProductEpilogue::make(const KernelContext& context, const ProductOperands& operands,
                                              std::span<const int64_t> positions, int64_t padded,
                                              std::span<const ChannelWeights> weights, int64_t left_offset) {
  ProductEpilogue out;
  out.isa_ = context.isa;
  auto parsed = parse_epilogue(context.instruction.attributes);
  if (!parsed) return context.refuse(parsed.error().message);
  out.activation_ = parsed->activation;
  out.residual_activation_ = parsed->residual_activation;
  out.integer = is_integer(context.inputs[operands.x]->dtype);
  out.wide = context.inputs[operands.x]->dtype == DataType::kI16;
  out.has_residual = operands.residual < context.inputs.size() && context.inputs[operands.residual] != nullptr;
  if (!out.has_residual && !out.residual_activation_.is_none()) {
    return context.refuse("residual_activation is given but no residual");
  }
  if (out.has_residual) {
    const format::ProgramTensor& residual = *context.inputs[operands.residual];
    const bool bytes = residual.dtype == DataType::kI8 || residual.dtype == DataType::kU8;
    const bool fits =
        residual.shape == context.outputs[0]->shape &&
        (out.integer ? bytes || (residual.dtype == DataType::kI16 && context.outputs[0]->dtype == DataType::kI16)
                     : residual.dtype == DataType::kF32);
    if (!fits) return context.refuse("the residual must have the output's shape, and f32 or no more bits than y has");
  }
  const auto count = static_cast<size_t>(padded);
  if (out.integer) {
    if (out.wide) {
      out.bias_i64.assign(count, 0);
    } else {
      out.bias.assign(count, 0);
    }
    out.multiplier.assign(count, 0.0F);
    HAI_TRY_STATUS(out.make_integer(context, operands, positions, weights, left_offset));
  } else {
    out.bias_f32.assign(count, 0.0F);
    HAI_TRY_STATUS(out.make_float(context, operands, positions));
  }
  return out;
}

Status ProductEpilogue::make_float(const KernelContext& context, const ProductOperands& operands,
                                   std::span<const int64_t> positions) {
  if (context.outputs[0]->dtype != DataType::kF32) return context.refuse("an f32 input gives an f32 output");
  const bool clamps = activation_.is_clamp();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  lo = clamps ? static_cast<float>(activation_.lo) : -kInfinity;
  hi = clamps ? static_cast<float>(activation_.hi) : kInfinity;
  const bool clamps_last = residual_activation_.is_clamp();
  residual_lo_ = clamps_last ? static_cast<float>(residual_activation_.lo) : -kInfinity;
  residual_hi_ = clamps_last ? static_cast<float>(residual_activation_.hi) : kInfinity;
  if (operands.bias >= context.inputs.size() || context.inputs[operands.bias] == nullptr) return {};
  const TensorView& view = context.constants[operands.bias];
  if (view.data == nullptr || view.dtype != DataType::kF32 || view.count() != static_cast<int64_t>(positions.size())) {
    return context.refuse("the bias must be a constant of f32 with one entry a channel");
  }
  const float* values = data_of<float>(view);
  for (size_t c = 0; c < positions.size(); ++c) bias_f32[static_cast<size_t>(positions[c])] = values[c];
  return {};
}

Status ProductEpilogue::make_bias(const KernelContext& context, const ProductOperands& operands,
                                  std::span<const int64_t> positions, std::span<const ChannelWeights> weights,
                                  int64_t left_offset) {
  const format::ProgramTensor& x = *context.inputs[operands.x];
  const int64_t zero = x.quantization->zero_points[0];
  const int64_t reach = std::max(integer_max(x.dtype) - zero, zero - integer_min(x.dtype));
  const bool given = operands.bias < context.inputs.size() && context.inputs[operands.bias] != nullptr;
  const TensorView view = given ? context.constants[operands.bias] : TensorView{};
  const DataType wanted = wide ? DataType::kI64 : DataType::kI32;
  if (given &&
      (view.data == nullptr || view.dtype != wanted || view.count() != static_cast<int64_t>(positions.size()))) {
    return context.refuse(
        fmt::format("the bias must be a constant of {} with one entry a channel", data_type_name(wanted)));
  }
  const int64_t limit = wide ? kWideLimit : std::numeric_limits<int32_t>::max();
  for (size_t c = 0; c < positions.size(); ++c) {
    const int64_t own = !given ? 0 : wide ? data_of<int64_t>(view)[c] : data_of<int32_t>(view)[c];
    const bool fits = own <= limit && own >= -limit && weights[c].absolute_sum <= (limit - std::abs(own)) / reach;
    if (!fits) {
      return context.refuse(fmt::format("the sums of channel {}, {} * {} beside a bias of {}, may pass {} bits", c,
                                        weights[c].absolute_sum, reach, own, wide ? 53 : 31));
    }
    // The kernels sum (q + left_offset) * w modulo 2^32 or 2^64.
    const int64_t folded = own - (zero + left_offset) * weights[c].sum;
    const auto at = static_cast<size_t>(positions[c]);
    if (wide) {
      bias_i64[at] = folded;
    } else {
      bias[at] = static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(folded)));
    }
  }
  return {};
}

Status ProductEpilogue::make_integer(const KernelContext& context, const ProductOperands& operands,
                                     std::span<const int64_t> positions, std::span<const ChannelWeights> weights,
                                     int64_t left_offset) {
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY(const RoundingPoint x, one_scale(context, *context.inputs[operands.x], "x"));
  const Quantization* scales = weight_quantization(*context.inputs[operands.weights], positions.size());
  if (scales == nullptr) {
    return context.refuse("the weights need one scale, or one scale a channel");
  }
  HAI_TRY_STATUS(make_bias(context, operands, positions, weights, left_offset));
  to_float = y.dtype == DataType::kF32;
  RoundingPoint last;
  if (to_float) {
    if (has_residual || !activation_.is_none()) return context.refuse("f32 output takes no activation or residual");
  } else {
    to_words = y.dtype == DataType::kI16;
    const bool fits = to_words || (!wide && (y.dtype == DataType::kI8 || y.dtype == DataType::kU8));
    if (!fits) return context.refuse(wide ? "the output must be i16 or f32" : "the output must be i8, u8, i16 or f32");
    HAI_TRY(last, one_scale(context, y, "y"));
  }
  HAI_TRY(const Epilogue points, parse_epilogue(context.instruction.attributes));
  if (!to_float) {
    const Status checked = check_integer_epilogue(points, has_residual, y.dtype);
    if (!checked) return context.refuse(checked.error().message);
  }
  const RoundingPoint before_add = has_residual ? *points.pre_residual : last;
  const RoundingPoint first = activation_.is_clamp() ? before_add : *points.conv;
  if (points.fixed_point) {
    if (to_float || to_words) return context.refuse("rounding fixed_point needs 8-bit operands and results");
    fixed_factor_.assign(multiplier.size(), 0.0);
    fixed_unit_.assign(multiplier.size(), 0.0);
  }
  for (size_t c = 0; c < positions.size(); ++c) {
    const float s_w =
        static_cast<float>(static_cast<double>(scales->scales[scales->per_tensor() ? 0 : c]) * operands.weight_factor);
    const float m = hai_multiplier_product(x.scale, s_w, to_float ? 1.0F : first.scale);
    HAI_TRY_STATUS(usable(context, m, fmt::format("channel {}", c)));
    multiplier[static_cast<size_t>(positions[c])] = m;
    if (!points.fixed_point) continue;
    const hai_fixed_point fixed = hai_fixed_point_of(x.scale, s_w, first.scale);
    fixed_factor_[static_cast<size_t>(positions[c])] = fixed.factor;
    fixed_unit_[static_cast<size_t>(positions[c])] = fixed.unit;
  }
  if (to_float) return {};
  hai_output_range range = full_range(y.dtype, first);
  first_wide_ = !wide && first.dtype(y.dtype) == DataType::kI16;
  if (activation_.is_clamp()) {
    range = clamp_range(activation_, first.scale, range);
  } else {
    make_table(range, first.scale, full_range(y.dtype, before_add), before_add.scale);
    // What lies beyond the table has its outermost entries' values.
    range.lo = table_.first;
    range.hi = table_.last();
  }
  lo = static_cast<float>(range.lo - range.zero_point);
  hi = static_cast<float>(range.hi - range.zero_point);
  zero_point = range.zero_point;
  return has_residual ? make_residual(context, operands, before_add, last) : Status{};
}

void ProductEpilogue::make_table(const hai_output_range& from, float from_scale, const hai_output_range& to,
                                 float to_scale) {
  table_ = make_function_table(activation_, from_scale, from, to_scale, to);
  if (from.hi - from.lo > 255) return;
  table_bytes_.resize(256);
  for (int32_t q = from.lo; q <= from.hi; ++q) {
    table_bytes_[static_cast<uint8_t>(q)] = static_cast<uint8_t>(table_.entries[static_cast<size_t>(q - from.lo)]);
  }
}

Status ProductEpilogue::make_residual(const KernelContext& context, const ProductOperands& operands,
                                      const RoundingPoint& before_add, const RoundingPoint& last) {
  const format::ProgramTensor& residual = *context.inputs[operands.residual];
  HAI_TRY(const RoundingPoint r, one_scale(context, residual, "residual"));
  sum_zero_point_ = before_add.zero_point;
  sum_multiplier_ = hai_multiplier_ratio(before_add.scale, last.scale);
  residual_zero_point_ = r.zero_point;
  residual_multiplier_ = hai_multiplier_ratio(r.scale, last.scale);
  residual_signed_ = is_signed_integer(residual.dtype);
  residual_bits_ = bit_width(residual.dtype);
  HAI_TRY_STATUS(usable(context, sum_multiplier_, "the residual addition"));
  HAI_TRY_STATUS(usable(context, residual_multiplier_, "the residual"));
  out_range_ = clamp_range(residual_activation_, last.scale, full_range(context.outputs[0]->dtype, last));
  residual_lo_ = static_cast<float>(out_range_.lo - out_range_.zero_point);
  residual_hi_ = static_cast<float>(out_range_.hi - out_range_.zero_point);
  return {};
}

int64_t ProductEpilogue::bytes() const {
  return static_cast<int64_t>(4 * (bias_f32.size() + bias.size() + multiplier.size()) + 8 * bias_i64.size() +
                              2 * table_.entries.size() + table_bytes_.size() + 16 * fixed_factor_.size());
}

void ProductEpilogue::take_bias_out() {
  bias.assign(bias.size(), 0);
  bias_i64.assign(bias_i64.size(), 0);
}

void ProductEpilogue::finish_f32(float* tile, int64_t tile_stride, int32_t rows, int32_t cols, const float* residual,
                                 int64_t residual_stride, float* out, int64_t out_stride) const {
  if (!activation_.is_clamp()) {
    hai_unary_f32_for(isa_)(activation_.function, tile, tile, (rows - 1) * tile_stride + cols,
                            static_cast<float>(activation_.alpha), static_cast<float>(activation_.beta));
  }
  const hai_epilogue_f32 store = {tile,         tile_stride,  rows, cols,      residual, residual_stride,
                                  residual_lo_, residual_hi_, out,  out_stride};
  epilogue_f32_for(isa_)(&store);
  if (residual_activation_.is_clamp()) return;
  for (int32_t row = 0; row < rows; ++row) {
    float* y = out + row * out_stride;
    hai_unary_f32_for(isa_)(residual_activation_.function, y, y, cols, static_cast<float>(residual_activation_.alpha),
                            static_cast<float>(residual_activation_.beta));
  }
}

void ProductEpilogue::look_up(std::byte* out, int64_t out_stride, int64_t rows, int64_t cols) const {
  if (table_bytes_.empty()) return;
  if (cols == out_stride) {
    cols *= rows;
    rows = 1;
  }
  lookup_rows_for(isa_)(table_bytes_.data(), reinterpret_cast<uint8_t*>(out), out_stride, rows, cols);
}

void ProductEpilogue::finish_i8(int32_t* sums, int64_t sums_stride, int32_t rows, int32_t cols, int64_t position,
                                const std::byte* residual, int64_t residual_stride, std::byte* out,
                                int64_t out_stride) const {
  const bool plain = !fixed_factor_.empty() && table_.entries.empty() && !has_residual;
  if (!fixed_factor_.empty()) {
    const hai_fixed_rows fixed = {sums,
                                  sums_stride,
                                  rows,
                                  cols,
                                  bias.data() + position,
                                  fixed_factor_.data() + position,
                                  fixed_unit_.data() + position,
                                  lo,
                                  hi,
                                  plain ? reinterpret_cast<uint8_t*>(out) : nullptr,
                                  out_stride,
                                  zero_point};
    fixed_point_rows_for(isa_)(&fixed);
    if (plain) return;
  }
  const bool rounded = !fixed_factor_.empty();
  finish(sums, sums_stride, rows, cols, position, residual, residual_stride, out, out_stride, rounded);
}

void ProductEpilogue::finish_steps(int32_t* steps, int64_t steps_stride, int32_t rows, int32_t cols, int64_t position,
                                   const std::byte* residual, int64_t residual_stride, std::byte* out,
                                   int64_t out_stride) const {
  finish(steps, steps_stride, rows, cols, position, residual, residual_stride, out, out_stride, true);
}

void ProductEpilogue::finish(const int32_t* sums, int64_t sums_stride, int32_t rows, int32_t cols, int64_t position,
                             const std::byte* residual, int64_t residual_stride, std::byte* out, int64_t out_stride,
                             bool rounded) const {
  hai_epilogue_i8 e = {};
  e.sums = sums;
  e.sums_stride = sums_stride;
  e.rows = rows;
  e.cols = cols;
  e.bias = bias.data() + position;
  e.multiplier = multiplier.data() + position;
  e.lo = lo;
  e.hi = hi;
  e.zero_point = zero_point;
  e.rounded = rounded ? 1 : 0;
  e.table = table_.entries.empty() ? nullptr : table_.entries.data();
  e.table_first = table_.first;
  e.residual = to_words ? nullptr : reinterpret_cast<const uint8_t*>(residual);
  e.residual_stride = residual_stride;
  e.residual_signed = residual_signed_ ? 1 : 0;
  e.residual_zero_point = residual_zero_point_;
  e.residual_multiplier = residual_multiplier_;
  e.sum_zero_point = table_.entries.empty() ? zero_point : sum_zero_point_;
  e.sum_multiplier = sum_multiplier_;
  e.out_lo = residual_lo_;
  e.out_hi = residual_hi_;
  e.out_zero_point = out_range_.zero_point;
  e.out = to_float || to_words ? nullptr : reinterpret_cast<uint8_t*>(out);
  e.out_s16 = to_words ? reinterpret_cast<int16_t*>(out) : nullptr;
  e.out_f32 = to_float ? reinterpret_cast<float*>(out) : nullptr;
  e.out_stride = out_stride;
  epilogue_i8_for(isa_)(&e);
  if (to_words) finish_s16(out, out_stride, rows, cols, residual, residual_stride);
}

void ProductEpilogue::store_s16(const int64_t* sums, int64_t sums_stride, int32_t rows, int32_t cols, int64_t position,
                                std::byte* out, int64_t out_stride) const {
  hai_requantize_s16 e = {};
  e.sums = sums;
  e.sums_stride = sums_stride;
  e.rows = rows;
  e.cols = cols;
  e.bias = bias_i64.data() + position;
  e.multiplier = multiplier.data() + position;
  e.lo = static_cast<double>(lo);
  e.hi = static_cast<double>(hi);
  e.zero_point = zero_point;
  e.out = to_float ? nullptr : reinterpret_cast<int16_t*>(out);
  e.out_f32 = to_float ? reinterpret_cast<float*>(out) : nullptr;
  e.out_stride = out_stride;
  requantize_s16_for(isa_)(&e);
}

void ProductEpilogue::finish_s16(std::byte* out, int64_t out_stride, int64_t rows, int32_t cols,
                                 const std::byte* residual, int64_t residual_stride) const {
  const bool looks_up = wide && !table_.entries.empty();  // finish_i8 has done it already
  if (!looks_up && !has_residual) return;
  hai_finish_s16 e = {};
  e.y = reinterpret_cast<int16_t*>(out);
  e.y_stride = out_stride;
  e.rows = static_cast<int32_t>(rows);
  e.cols = cols;
  e.table = looks_up ? table_.entries.data() : nullptr;
  e.table_first = table_.first;
  e.residual = residual;
  e.residual_stride = residual_stride;
  e.residual_bits = residual_bits_;
  e.residual_signed = residual_signed_ ? 1 : 0;
  e.zero_point = sum_zero_point_;
  e.residual_zero_point = residual_zero_point_;
  e.multiplier = sum_multiplier_;
  e.residual_multiplier = residual_multiplier_;
  e.lo = out_range_.lo;
  e.hi = out_range_.hi;
  e.out_zero_point = out_range_.zero_point;
  finish_s16_for(isa_)(&e);
}

}  // namespace hai::cpu

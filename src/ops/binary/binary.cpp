// Element-wise functions of two operands with NumPy broadcasting: add, sub, mul, div, min, max, pow, prelu.
//
// Floats: computed in f64, rounded once. Quantized: all but div and pow by types/arithmetic.h; a product with an
// i16 operand or result runs in i64 and f64. Plain i32 and i64 (shape arithmetic): exact, and an overflow or a division
// by zero is an error.
#include <fmt/format.h>

#include <limits>

#include "base/checked.h"
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/binary_table.h"
#include "types/exact_math.h"

namespace hai::ops {
namespace {

struct BinaryRow {
  std::string_view name;
  std::string_view onnx_name;
  std::string_view formula;
};

#define HAI_ROW(name, onnx, f32, formula) {#name, onnx, formula},
constexpr BinaryRow kRows[] = {HAI_BINARY_TABLE(HAI_ROW)};
#undef HAI_ROW

// The multipliers of a quantized node are usable; what cannot be computed exactly is refused before it runs.
Status check_multipliers(const OpSchema& schema, const ir::TensorType& a, const ir::TensorType& b,
                         const ir::TensorType& y) {
  const auto scale = [](const ir::TensorType& type) {
    return scale_of(type.quantization ? &*type.quantization : nullptr);
  };
  const bool product = schema.variant == HAI_BINARY_mul;
  const float first =
      product ? hai_multiplier_product(scale(a), scale(b), scale(y)) : hai_multiplier_ratio(scale(a), scale(y));
  const float second = product                              ? first
                       : schema.variant == HAI_BINARY_prelu ? hai_multiplier_product(scale(a), scale(b), scale(y))
                                                            : hai_multiplier_ratio(scale(b), scale(y));
  for (const float multiplier : {first, second}) {
    if (hai_multiplier_usable(multiplier) != 0) continue;
    return make_error(
        StatusCode::kOutOfRange, "O205",
        "scales {} and {} with output scale {} give multiplier {}, outside [2^-40, 2^8]; quantize them with "
        "scales nearer to each other, or keep the node in f32",
        scale(a), scale(b), scale(y), multiplier);
  }
  return {};
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantizedTypes | kPlainIntegers));
  HAI_TRY_STATUS(require_dtype(schema, context, 1, kFloatTypes | kQuantizedTypes | kPlainIntegers));
  const ir::TensorType& a = input_type(context, 0);
  const ir::TensorType& b = input_type(context, 1);
  if (!is_quantized(a) || !is_quantized(b)) HAI_TRY_STATUS(require_same_dtype(schema, context, 0, 1));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, contains(kPlainIntegers, a.dtype)));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 1, contains(kPlainIntegers, b.dtype)));
  if (is_quantized(a) != is_quantized(b)) {
    return make_error(StatusCode::kInvalidArgument, "O200", "one operand of {} has a scale and the other has none",
                      schema.name);
  }
  if (is_quantized(a) && (bit_width(a.dtype) > 16 || bit_width(b.dtype) > 16)) {
    return make_error(StatusCode::kUnsupported, "O201", "{} of quantized tensors takes 8 and 16 bits", schema.name);
  }
  if (is_quantized(a) && (schema.variant == HAI_BINARY_div || schema.variant == HAI_BINARY_pow)) {
    return make_error(StatusCode::kUnsupported, "O202",
                      "{} is not defined on quantized tensors: dequantize the operands, or multiply by the reciprocal",
                      schema.name);
  }
  HAI_TRY(Shape shape, broadcast_shapes(a.shape, b.shape, context.symbols));
  if (schema.variant == HAI_BINARY_prelu && shape != a.shape) {
    return make_error(StatusCode::kInvalidArgument, "O204", "the slope {} of prelu must broadcast to the shape {} of a",
                      to_string(b.shape, context.symbols), to_string(a.shape, context.symbols));
  }
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, std::move(shape)));
  if (is_quantized(y)) HAI_TRY_STATUS(check_multipliers(schema, a, b, y));
  return std::vector<ir::TensorType>{std::move(y)};
}

double float_value(int64_t function, double x, double y) {
  switch (function) {
    case HAI_BINARY_add:
      return x + y;
    case HAI_BINARY_sub:
      return x - y;
    case HAI_BINARY_mul:
      return x * y;
    case HAI_BINARY_div:
      return x / y;
    case HAI_BINARY_min:
      return x < y || x != x ? x : y;
    case HAI_BINARY_max:
      return x > y || x != x ? x : y;
    case HAI_BINARY_prelu:
      return x < 0.0 ? x * y : x;
    default:
      return hai_pow(x, y);
  }
}

std::optional<int64_t> power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  std::optional<int64_t> result = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (int64_t i = 0; i < exponent && result; ++i) result = checked_mul(*result, base);
  return result;
}

std::optional<int64_t> plain_value(int64_t function, int64_t x, int64_t y) {
  switch (function) {
    case HAI_BINARY_add:
      return checked_add(x, y);
    case HAI_BINARY_sub:
      return y == std::numeric_limits<int64_t>::min() ? std::nullopt : checked_add(x, -y);
    case HAI_BINARY_mul:
      return checked_mul(x, y);
    case HAI_BINARY_div:
      if (y == 0 || (y == -1 && x == std::numeric_limits<int64_t>::min())) return std::nullopt;
      return x / y;
    case HAI_BINARY_min:
      return std::min(x, y);
    case HAI_BINARY_max:
      return std::max(x, y);
    case HAI_BINARY_prelu:
      return x < 0 ? checked_mul(x, y) : std::optional<int64_t>(x);
    default:
      return power(x, y);
  }
}

Status reference_plain(const OpSchema& schema, const ReferenceContext& context, const Index& strides_a,
                       const Index& strides_b) {
  const MutableTensorView& y = context.outputs[0];
  int64_t n = 0;
  Status status;
  for_each_index(y.dims, [&](const Index& index) {
    const int64_t a = load_integer(context.inputs[0], offset_of(index, strides_a, y.dims.rank));
    const int64_t b = load_integer(context.inputs[1], offset_of(index, strides_b, y.dims.rank));
    const auto value = plain_value(schema.variant, a, b);
    const bool fits =
        value && (y.dtype == DataType::kI64 || (*value >= integer_min(y.dtype) && *value <= integer_max(y.dtype)));
    if (!fits && status) {
      status = make_error(StatusCode::kOutOfRange, "O203", "{} of {} and {} does not fit {} or divides by zero",
                          schema.name, a, b, data_type_name(y.dtype));
    }
    store_integer(y, n++, fits ? *value : 0);
  });
  return status;
}

void reference_quantized(const OpSchema& schema, const ReferenceContext& context, const Index& strides_a,
                         const Index& strides_b) {
  const TensorView& a = context.inputs[0];
  const TensorView& b = context.inputs[1];
  const MutableTensorView& y = context.outputs[0];
  const hai_output_range range = output_range(y);
  const int32_t za = zero_point_of(a);
  const int32_t zb = zero_point_of(b);
  const float ma = hai_multiplier_ratio(scale_of(a), scale_of(y));
  const float mb = hai_multiplier_ratio(scale_of(b), scale_of(y));
  const float product = hai_multiplier_product(scale_of(a), scale_of(b), scale_of(y));
  const bool wide = bit_width(a.dtype) == 16 || bit_width(b.dtype) == 16 || bit_width(y.dtype) == 16;
  const auto rescaled = [&](int32_t q, int32_t zero, float m) {
    return wide ? hai_rescale_wide(q, zero, m, range) : hai_rescale(q, zero, m, range);
  };
  int64_t n = 0;
  for_each_index(y.dims, [&](const Index& index) {
    const auto qa = static_cast<int32_t>(load_integer(a, offset_of(index, strides_a, y.dims.rank)));
    const auto qb = static_cast<int32_t>(load_integer(b, offset_of(index, strides_b, y.dims.rank)));
    int32_t value = 0;
    switch (schema.variant) {
      case HAI_BINARY_add:
        value = hai_add(qa, qb, za, zb, ma, mb, range);
        break;
      case HAI_BINARY_sub:
        value = hai_sub(qa, qb, za, zb, ma, mb, range);
        break;
      case HAI_BINARY_mul:
        value = wide ? hai_mul_wide(qa, qb, za, zb, product, range) : hai_mul(qa, qb, za, zb, product, range);
        break;
      case HAI_BINARY_prelu:
        if (qa >= za) {
          value = rescaled(qa, za, ma);
        } else {
          value = wide ? hai_mul_wide(qa, qb, za, zb, product, range) : hai_mul(qa, qb, za, zb, product, range);
        }
        break;
      default: {
        const int32_t left = rescaled(qa, za, ma);
        const int32_t right = rescaled(qb, zb, mb);
        value = (schema.variant == HAI_BINARY_min) == (left < right) ? left : right;
        break;
      }
    }
    store_integer(y, n++, value);
  });
}

Status reference(const OpSchema& schema, const ReferenceContext& context) {
  const MutableTensorView& y = context.outputs[0];
  const Index strides_a = broadcast_strides(context.inputs[0].dims, y.dims);
  const Index strides_b = broadcast_strides(context.inputs[1].dims, y.dims);
  if (is_quantized(y)) {
    reference_quantized(schema, context, strides_a, strides_b);
    return {};
  }
  if (!is_float(y.dtype)) return reference_plain(schema, context, strides_a, strides_b);
  int64_t n = 0;
  for_each_index(y.dims, [&](const Index& index) {
    const double a = load_f64(context.inputs[0], offset_of(index, strides_a, y.dims.rank));
    const double b = load_f64(context.inputs[1], offset_of(index, strides_b, y.dims.rank));
    store_f64(y, n++, float_value(schema.variant, a, b));
  });
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

struct SampleShapes {
  std::string_view name;
  Shape a;
  Shape b;
  Shape y;
};

std::vector<Sample> samples(const OpSchema& schema) {
  const std::vector<SampleShapes> kShapes = {
      {"same", {1, 13, 19, 3}, {1, 13, 19, 3}, {1, 13, 19, 3}},
      {"same_vector", {127}, {127}, {127}},
      {"scalar_right", {1, 13, 19}, {}, {1, 13, 19}},
      {"scalar_left", {1}, {13, 19}, {13, 19}},
      {"channel_right", {1, 13, 19, 5}, {5}, {1, 13, 19, 5}},
      {"channel_left", {19}, {7, 13, 19}, {7, 13, 19}},
      {"narrow", {1, 19, 17, 16}, {16}, {1, 19, 17, 16}},
      {"gate", {2, 5, 7, 13}, {2, 1, 1, 13}, {2, 5, 7, 13}},
      {"column", {13, 19}, {13, 1}, {13, 19}},
      {"outer", {13, 1}, {1, 19}, {13, 19}},
      {"interleaved", {3, 1, 5, 1, 7}, {1, 4, 1, 6, 7}, {3, 4, 5, 6, 7}},
      {"large", {1, 127, 313}, {1, 127, 313}, {1, 127, 313}},
      {"large_channel", {1, 113, 127, 13}, {13}, {1, 113, 127, 13}},
      {"empty", {0, 3}, {1, 3}, {0, 3}},
  };
  const bool division = schema.variant == HAI_BINARY_div;
  const bool pow = schema.variant == HAI_BINARY_pow;
  std::vector<Sample> out;
  const auto add = [&](const SampleShapes& shapes, DataType da, DataType db, DataType dy, bool constant_b) {
    Sample sample;
    sample.name = fmt::format("{}_{}{}", shapes.name, data_type_name(da),
                              da == db ? "" : fmt::format("_{}_{}", data_type_name(db), data_type_name(dy)));
    if (constant_b) sample.name += "_constant";
    SampleInput a;
    SampleInput b;
    a.type = {da, shapes.a, std::nullopt};
    b.type = {db, shapes.b, std::nullopt};
    a.low = pow ? 0.1 : -3.0;
    a.high = 3.0;
    b.low = division ? 0.5 : -2.0;
    b.high = 2.0;
    b.constant = constant_b;
    if (bit_width(da) <= 16 && is_integer(da)) {
      const bool wide = bit_width(dy) == 16;
      const float step = wide ? 1.0F / 256.0F : 1.0F;
      a.type.quantization =
          per_tensor_quantization(0.043F * (bit_width(da) == 16 ? step : 1.0F), da == DataType::kU8 ? 119 : -3);
      b.type.quantization =
          per_tensor_quantization(0.0291F * (bit_width(db) == 16 ? step : 1.0F), db == DataType::kU8 ? 131 : 7);
      const float scale = schema.variant == HAI_BINARY_mul ? 0.11F : 0.0573F;
      sample.outputs = {
          ir::TensorType{dy, shapes.y, per_tensor_quantization(scale * step, dy == DataType::kU8 ? 127 : -5)}};
    } else if (is_integer(da)) {
      a.integers_in_bounds = b.integers_in_bounds = true;
      a.low = pow ? 0.0 : -1000.0;
      a.high = pow ? 9.0 : 1000.0;
      b.low = pow || division ? 1.0 : -1000.0;
      b.high = pow ? 4.0 : 1000.0;
    }
    sample.inputs = {std::move(a), std::move(b)};
    // pow: the exponential multiplies the rounding of its argument; the others round once.
    sample.tolerance = da == DataType::kF16 ? 1e-3 : da == DataType::kBF16 ? 8e-3 : pow ? 2e-6 : 1e-6;
    sample.op = schema.name;
    // The slope of prelu may not widen a.
    if (schema.variant != HAI_BINARY_prelu || shapes.a == shapes.y) out.push_back(std::move(sample));
  };
  for (const SampleShapes& shapes : kShapes) add(shapes, DataType::kF32, DataType::kF32, DataType::kF32, false);
  add(kShapes[4], DataType::kF32, DataType::kF32, DataType::kF32, true);
  for (const DataType dtype : {DataType::kF16, DataType::kBF16, DataType::kF64, DataType::kI32, DataType::kI64}) {
    add(kShapes[7], dtype, dtype, dtype, false);
  }
  if (division || pow) return out;
  for (const SampleShapes& shapes : kShapes) add(shapes, DataType::kI8, DataType::kI8, DataType::kI8, false);
  add(kShapes[4], DataType::kI8, DataType::kI8, DataType::kI8, true);
  add(kShapes[0], DataType::kU8, DataType::kU8, DataType::kU8, false);
  add(kShapes[7], DataType::kU8, DataType::kI8, DataType::kI8, false);
  add(kShapes[9], DataType::kI8, DataType::kU8, DataType::kU8, false);
  add(kShapes[7], DataType::kI16, DataType::kI16, DataType::kI16, false);
  add(kShapes[10], DataType::kI16, DataType::kI8, DataType::kI8, false);
  add(kShapes[3], DataType::kI8, DataType::kU8, DataType::kI16, false);
  return out;
}

std::vector<OpSchema> make_schemas() {
  std::vector<OpSchema> schemas;
  for (size_t i = 0; i < std::size(kRows); ++i) {
    OpSchema schema;
    schema.name = kRows[i].name;
    const bool integer = i != HAI_BINARY_div && i != HAI_BINARY_pow;
    schema.doc = fmt::format(
        "y = {}, element by element, with NumPy broadcasting.{}", kRows[i].formula,
        integer ? " Quantized operands follow docs/reference/arithmetic.md; their types and scales may differ."
                : " Not defined on quantized tensors.");
    schema.inputs = {{"a", "any shape"}, {"b", "a shape that broadcasts with that of a; same element type"}};
    if (i == HAI_BINARY_prelu) schema.inputs = {{"a", "any shape"}, {"b", "the slope; broadcasts to the shape of a"}};
    schema.outputs = {{"y", "the broadcast shape; quantized operands need a declared integer type with a scale"}};
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    schema.onnx_names = {kRows[i].onnx_name};
    if (!integer) schema.explained_holes = {{"sd3403", "not defined on quantized tensors"}};
    if (i == HAI_BINARY_min || i == HAI_BINARY_max)
      schema.explained_holes = {{"sd3403", "no command compares two tensors: on the CPU"}};
    if (i == HAI_BINARY_prelu)
      schema.explained_holes = {{"sd3403", "a slope that changes along a tensor is no table: on the CPU"}};
    schema.variant = static_cast<int64_t>(i);
    schemas.push_back(std::move(schema));
  }
  return schemas;
}

}  // namespace

std::span<const OpSchema> binary_schemas();
std::span<const OpSchema> binary_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

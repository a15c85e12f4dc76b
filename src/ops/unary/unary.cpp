// The unary functions: y[i] = f(x[i]), one schema per line of types/unary_table.h.
//
// Floats are computed in f64 and rounded once. Quantized tensors: y = store(f(s_x (q - z_x)) / s_y), computed in f64
// (a device makes a table of it). Plain integers (shape arithmetic) have relu, neg, abs and square only.
#include <fmt/format.h>

#include <cmath>

#include "ops/inference.h"
#include "ops/reference.h"
#include "types/unary_functions.h"
#include "types/unary_table.h"

namespace hai::ops {
namespace {

bool defined_for_plain_integers(int64_t function) {
  return function == HAI_UNARY_relu || function == HAI_UNARY_neg || function == HAI_UNARY_abs ||
         function == HAI_UNARY_square;
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantizedTypes | kPlainIntegers));
  const ir::TensorType& x = input_type(context, 0);
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, defined_for_plain_integers(schema.variant)));
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, x.shape));
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference_plain(const OpSchema& schema, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  for (int64_t i = 0; i < x.count(); ++i) {
    const auto value = static_cast<uint64_t>(load_integer(x, i));  // unsigned: the least integer negates to itself
    const bool negative = static_cast<int64_t>(value) < 0;
    uint64_t result = value;
    if (schema.variant == HAI_UNARY_relu) result = negative ? 0 : value;
    if (schema.variant == HAI_UNARY_neg || (schema.variant == HAI_UNARY_abs && negative)) result = 0 - value;
    if (schema.variant == HAI_UNARY_square) result = value * value;
    store_integer(context.outputs[0], i, static_cast<int64_t>(result));
  }
  return {};
}

Status reference(const OpSchema& schema, const ReferenceContext& context) {
  const UnaryFunction& function = unary_functions()[static_cast<size_t>(schema.variant)];
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const double alpha = context.node.float_attribute("alpha", function.alpha);
  const double beta = context.node.float_attribute("beta", function.beta);
  const auto number = static_cast<int32_t>(schema.variant);
  if (is_float(x.dtype)) {
    for (int64_t i = 0; i < x.count(); ++i) store_f64(y, i, unary_f64(number, load_f64(x, i), alpha, beta));
    return {};
  }
  if (!is_quantized(x)) return reference_plain(schema, context);
  const hai_output_range range = output_range(y);
  for (int64_t i = 0; i < x.count(); ++i) {
    store_integer(y, i,
                  unary_integer(number, alpha, beta, static_cast<int32_t>(load_integer(x, i)), scale_of(x),
                                zero_point_of(x), scale_of(y), range));
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

// A scale and zero point that cover [low, high] in an 8- or 16-bit type.
Quantization covering(double low, double high, DataType dtype) {
  const double steps = static_cast<double>(integer_max(dtype) - integer_min(dtype));
  const double scale = (high - low) / steps;
  const double zero = std::nearbyint(static_cast<double>(integer_min(dtype)) - low / scale);
  const double bounded =
      std::min(std::max(zero, static_cast<double>(integer_min(dtype))), static_cast<double>(integer_max(dtype)));
  return per_tensor_quantization(static_cast<float>(scale), static_cast<int32_t>(bounded));
}

std::vector<Sample> samples(const OpSchema& schema) {
  const UnaryFunction& function = unary_functions()[static_cast<size_t>(schema.variant)];
  double lowest = 1e30;
  double highest = -1e30;
  for (int i = 0; i <= 512; ++i) {
    const double x = function.sample_low + (function.sample_high - function.sample_low) * i / 512.0;
    const double y = unary_f64(static_cast<int32_t>(schema.variant), x, function.alpha, function.beta);
    if (std::isfinite(y)) lowest = std::min(lowest, y);
    if (std::isfinite(y)) highest = std::max(highest, y);
  }
  if (highest - lowest < 0.1) highest = lowest + 0.1;
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, DataType output) {
    Sample sample;
    sample.name = std::move(name);
    SampleInput x;
    x.type = {dtype, std::move(shape), std::nullopt};
    x.low = function.sample_low;
    x.high = function.sample_high;
    if (is_integer(dtype)) {
      x.type.quantization = covering(function.sample_low, function.sample_high, dtype);
      sample.outputs = {ir::TensorType{output, x.type.shape, covering(lowest, highest, output)}};
    }
    sample.inputs = {std::move(x)};
    sample.tolerance = dtype == DataType::kF16 ? 1e-3 : dtype == DataType::kBF16 ? 1e-2 : 2e-6;
    sample.op = schema.name;
    out.push_back(std::move(sample));
    if (function.parameter_count > 0 && out.size() % 2 == 0) {  // every other one with parameters of its own
      out.back().attributes["alpha"] = 0.3;
      if (function.parameter_count > 1) out.back().attributes["beta"] = 0.45;
    }
  };
  add("odd_f32", DataType::kF32, {1, 13, 19, 3}, DataType::kF32);
  add("vector_f32", DataType::kF32, {127}, DataType::kF32);
  add("large_f32", DataType::kF32, {2, 127, 313}, DataType::kF32);
  add("empty_f32", DataType::kF32, {0, 3}, DataType::kF32);
  add("scalar_f32", DataType::kF32, {}, DataType::kF32);
  add("odd_i8", DataType::kI8, {1, 13, 19, 3}, DataType::kI8);
  add("odd_u8", DataType::kU8, {19, 13}, DataType::kU8);
  add("u8_to_i8", DataType::kU8, {127}, DataType::kI8);
  add("i16", DataType::kI16, {13, 19}, DataType::kI16);
  add("f16", DataType::kF16, {13, 3}, DataType::kF16);
  add("bf16", DataType::kBF16, {13, 3}, DataType::kBF16);
  add("f64", DataType::kF64, {13}, DataType::kF64);
  return out;
}

std::vector<OpSchema> make_schemas() {
  std::vector<OpSchema> schemas;
  for (size_t i = 0; i < unary_functions().size(); ++i) {
    const UnaryFunction& function = unary_functions()[i];
    OpSchema schema;
    schema.name = function.name;
    schema.doc = fmt::format(
        "y = {}, element by element. A quantized x gives store(f(s_x (q - z_x)) / s_y): computed in f64, rounded once; "
        "8-bit tensors do it with a table of 256 entries (docs/reference/arithmetic.md, \"Table look-up\").",
        function.formula);
    schema.inputs = {{"x", "any shape"}};
    schema.outputs = {{"y", "shape of x; a quantized x needs a declared integer type with scale and zero point"}};
    if (function.parameter_count > 0) {
      schema.attributes.push_back({"alpha", AttributeKind::kFloat, "first parameter of the formula"});
    }
    if (function.parameter_count > 1) {
      schema.attributes.push_back({"beta", AttributeKind::kFloat, "second parameter of the formula"});
    }
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    if (!function.onnx_name.empty()) {
      schema.onnx_names = {function.onnx_name};
    } else {
      schema.explained_holes.emplace_back("onnx",
                                          "ONNX has no operator of its own for it; passes recognise the pattern");
    }
    schema.variant = static_cast<int64_t>(i);
    schemas.push_back(std::move(schema));
  }
  return schemas;
}

}  // namespace

std::span<const OpSchema> unary_schemas();
std::span<const OpSchema> unary_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

// clip: y = min(max(x, min), max).
//
// Quantized tensors: y = store(min(max(s_x (q - z_x), min), max) / s_y) in f64, rounded once; with equal scales that is
// a clamp of the stored integer. Plain integers compare exactly.
#include "ops/inference.h"
#include "ops/reference.h"

#include <cmath>
#include <limits>

namespace hai::ops {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantizedTypes | kPlainIntegers));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, contains(kPlainIntegers, input_type(context, 0).dtype)));
  const double low = context.node.float_attribute("min", -kInfinity);
  const double high = context.node.float_attribute("max", kInfinity);
  if (low > high) {
    return make_error(StatusCode::kInvalidArgument, "O210", "min {} is greater than max {}", low, high);
  }
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, input_type(context, 0).shape));
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const double low = context.node.float_attribute("min", -kInfinity);
  const double high = context.node.float_attribute("max", kInfinity);
  for (int64_t i = 0; i < x.count(); ++i) {
    if (is_quantized(x)) {
      const double real = static_cast<double>(scale_of(x)) * static_cast<double>(load_integer(x, i) - zero_point_of(x));
      store_integer(y, i,
                    hai_store_f64(hai_clamp_f64(real, low, high) / static_cast<double>(scale_of(y)), output_range(y)));
    } else if (is_float(x.dtype)) {
      const double value = load_f64(x, i);
      store_f64(y, i, value < low ? low : value > high ? high : value);
    } else {
      const int64_t value = load_integer(x, i);
      const auto real = static_cast<double>(value);
      if (real < low || real > high) {
        store_f64(y, i, real < low ? std::ceil(low) : std::floor(high));
      } else {
        store_integer(y, i, value);
      }
    }
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, ir::Attributes attributes,
                       std::optional<Quantization> x_scale = {}, std::optional<ir::TensorType> y = {}) {
    Sample sample;
    sample.name = std::move(name);
    SampleInput x;
    x.type = {dtype, std::move(shape), std::move(x_scale)};
    x.low = -9.0;
    x.high = 9.0;
    sample.inputs = {std::move(x)};
    sample.attributes = std::move(attributes);
    if (y) {
      y->shape = sample.inputs[0].type.shape;
      sample.outputs = {std::move(*y)};
    }
    out.push_back(std::move(sample));
  };
  const ir::Attributes both = {{"min", -1.5}, {"max", 2.25}};
  add("both_f32", DataType::kF32, {1, 13, 19, 3}, both);
  add("lower_f32", DataType::kF32, {127}, {{"min", 0.5}});
  add("upper_f32", DataType::kF32, {13, 19}, {{"max", 0.5}});
  add("none_f32", DataType::kF32, {13}, {});
  add("f16", DataType::kF16, {13}, both);
  const Quantization same = per_tensor_quantization(0.05F, -3);
  add("equal_scales_i8", DataType::kI8, {1, 13, 19, 3}, both, same, ir::TensorType{DataType::kI8, {}, same});
  add("rescaling_i8", DataType::kI8, {127}, both, same,
      ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.02F, 11)});
  add("lower_u8", DataType::kU8, {19}, {{"min", 0.0}}, per_tensor_quantization(0.03F, 128),
      ir::TensorType{DataType::kU8, {}, per_tensor_quantization(0.03F, 128)});
  add("i16", DataType::kI16, {127}, both, per_tensor_quantization(0.001F, 0),
      ir::TensorType{DataType::kI16, {}, per_tensor_quantization(0.0001F, 5)});
  return out;
}

}  // namespace

std::span<const OpSchema> clip_schemas();
std::span<const OpSchema> clip_schemas() {
  static const std::vector<OpSchema> schemas = [] {
    OpSchema schema;
    schema.name = "clip";
    schema.doc =
        "y = min(max(x, min), max), element by element. A quantized x gives store(clip(s_x (q - z_x)) / s_y), computed "
        "in f64 and rounded once.";
    schema.inputs = {{"x", "any shape"}};
    schema.outputs = {{"y", "shape of x; a quantized x needs a declared integer type with scale and zero point"}};
    schema.attributes = {{"min", AttributeKind::kFloat, "least real value; none when absent"},
                         {"max", AttributeKind::kFloat, "greatest real value; none when absent"}};
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    schema.onnx_names = {"Clip"};
    schema.explained_holes = {{"sd3403", "an epilogue of products there; alone it is the CPU's"}};
    return std::vector<OpSchema>{schema};
  }();
  return schemas;
}

}  // namespace hai::ops

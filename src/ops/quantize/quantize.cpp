// quantize: real numbers to stored integers.
//
// y = store(x / s) + z with an IEEE f32 division (types/arithmetic.h, hai_quantize); other float types become f32
// first. NaN becomes the least value. Scales per axis and blocks of an axis are for imported weights.
#include "ops/inference.h"
#include "ops/quantized_axis.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

constexpr DataTypeSet kStored = kQuantizedTypes | set_of({DataType::kU16, DataType::kI4, DataType::kU4});

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  const ir::TensorType* declared = declared_type(context, 0);
  if (declared == nullptr || !declared->quantization || !contains(kStored, declared->dtype)) {
    return make_error(StatusCode::kInvalidArgument, "O213",
                      "quantize needs a declared output of {} with scale and zero point", describe(kStored));
  }
  ir::TensorType y{declared->dtype, input_type(context, 0).shape, declared->quantization};
  HAI_TRY_STATUS(check_quantized_axis(y));
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const QuantizedAxis parameters(*y.quantization, y.dims);
  hai_output_range range = output_range(y);
  for (int64_t i = 0; i < x.count(); ++i) {
    const size_t slice = parameters.slice_of(i);
    range.zero_point = y.quantization->zero_points[slice];
    store_integer(y, i, hai_quantize(static_cast<float>(load_f64(x, i)), y.quantization->scales[slice], range));
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType from, Shape shape, DataType to, Quantization quantization) {
    Sample sample;
    sample.name = std::move(name);
    SampleInput x;
    x.type = {from, shape, std::nullopt};
    x.low = -5.0;
    x.high = 5.0;
    sample.inputs = {std::move(x)};
    sample.outputs = {ir::TensorType{to, std::move(shape), std::move(quantization)}};
    out.push_back(std::move(sample));
  };
  add("f32_to_i8", DataType::kF32, {1, 13, 19, 3}, DataType::kI8, per_tensor_quantization(0.037F, -3));
  add("f32_to_u8", DataType::kF32, {127}, DataType::kU8, per_tensor_quantization(0.02F, 128));
  add("f32_to_i16", DataType::kF32, {13, 19}, DataType::kI16, per_tensor_quantization(0.0002F, 0));
  add("large_to_i8", DataType::kF32, {1, 127, 313}, DataType::kI8, per_tensor_quantization(0.037F, 19));
  add("tiny_scale_saturates", DataType::kF32, {127}, DataType::kI8, per_tensor_quantization(1e-30F, 0));
  add("f16_to_i8", DataType::kF16, {13}, DataType::kI8, per_tensor_quantization(0.037F, -3));
  add("f16_to_i16", DataType::kF16, {1, 7, 5, 3}, DataType::kI16, per_tensor_quantization(0.0002F, 5));
  add("per_axis_i8", DataType::kF32, {3, 5, 7}, DataType::kI8, {{0.01F, 0.02F, 0.5F}, {0, 0, 0}, 0, 0});
  add("f32_to_i4", DataType::kF32, {13}, DataType::kI4, per_tensor_quantization(0.5F, 0));
  return out;
}

}  // namespace

std::span<const OpSchema> quantize_schemas();
std::span<const OpSchema> quantize_schemas() {
  static const std::vector<OpSchema> schemas = [] {
    OpSchema schema;
    schema.name = "quantize";
    schema.doc =
        "Real numbers to stored integers: y = z + round_half_even(clamp(x / s)), an IEEE f32 division; NaN becomes the "
        "least value. The declared output gives type, scale and zero point.";
    schema.inputs = {{"x", "floats of any shape"}};
    schema.outputs = {{"y", "shape of x, declared integer type"}};
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    schema.onnx_names = {"QuantizeLinear"};
    schema.explained_holes = {{"gradient", "integers have none; quantization-aware training is to come"}};
    return std::vector<OpSchema>{schema};
  }();
  return schemas;
}

}  // namespace hai::ops

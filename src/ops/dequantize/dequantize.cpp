// dequantize: stored integers to real numbers in f32.
//
// y = float(q - z) * s (types/arithmetic.h, hai_dequantize), the difference exact, one f32 product. Scales per tensor,
// per axis or per block.
#include "ops/inference.h"
#include "ops/quantized_axis.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

constexpr DataTypeSet kStored =
    kQuantizedTypes | set_of({DataType::kU16, DataType::kI4, DataType::kU4, DataType::kI32});

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kStored));
  const ir::TensorType& x = input_type(context, 0);
  if (!x.quantization) {
    return make_error(StatusCode::kInvalidArgument, "O216", "dequantize of {} without a scale",
                      data_type_name(x.dtype));
  }
  HAI_TRY_STATUS(check_quantized_axis(x));
  return std::vector<ir::TensorType>{{DataType::kF32, x.shape, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const QuantizedAxis parameters(*x.quantization, x.dims);
  for (int64_t i = 0; i < x.count(); ++i) {
    const size_t slice = parameters.slice_of(i);
    const int64_t difference = load_integer(x, i) - x.quantization->zero_points[slice];
    const float value = static_cast<float>(difference) * x.quantization->scales[slice];
    store_f64(context.outputs[0], i, static_cast<double>(value));
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType from, Shape shape, Quantization quantization) {
    Sample sample;
    sample.name = std::move(name);
    SampleInput x;
    x.type = {from, std::move(shape), std::move(quantization)};
    sample.inputs = {std::move(x)};
    sample.tolerance = 0.0;  // one exact difference and one IEEE product
    out.push_back(std::move(sample));
  };
  add("i8", DataType::kI8, {1, 13, 19, 3}, per_tensor_quantization(0.037F, -3));
  add("u8", DataType::kU8, {127}, per_tensor_quantization(0.02F, 128));
  add("i16", DataType::kI16, {13, 19}, per_tensor_quantization(0.0002F, 7));
  add("i32", DataType::kI32, {13, 19}, per_tensor_quantization(0.0002F, 0));
  add("large_i8", DataType::kI8, {1, 127, 313}, per_tensor_quantization(0.037F, 19));
  add("per_axis_i8", DataType::kI8, {5, 3, 7}, {{0.01F, 0.02F, 0.5F}, {0, 3, -1}, 1, 0});
  add("blocks_i4", DataType::kI4, {2, 6}, {{0.1F, 0.2F, 0.3F, 0.4F}, {0, 0, 0, 0}, 1, 4});
  return out;
}

}  // namespace

std::span<const OpSchema> dequantize_schemas();
std::span<const OpSchema> dequantize_schemas() {
  static const std::vector<OpSchema> schemas = [] {
    OpSchema schema;
    schema.name = "dequantize";
    schema.doc = "Stored integers to real numbers: y = float(q - z) s, the difference exact, one f32 product.";
    schema.inputs = {{"x", "integers with a scale: per tensor, per axis or per block"}};
    schema.outputs = {{"y", "f32, shape of x"}};
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    schema.onnx_names = {"DequantizeLinear"};
    schema.explained_holes = {{"gradient", "integers have none; quantization-aware training is to come"}};
    return std::vector<OpSchema>{schema};
  }();
  return schemas;
}

}  // namespace hai::ops

// rescale: the same real value with another scale, zero point or integer type.
//
// y = store((q - z_x) M), M = s_x / s_y (types/arithmetic.h, hai_rescale; hai_rescale_wide above 8
// bits). i32 accumulators are taken as they are. Made
// by passes where scales meet; no model format has it.
#include "ops/inference.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kQuantizedTypes | set_of({DataType::kI32})));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, false));
  const ir::TensorType& x = input_type(context, 0);
  if (x.dtype == DataType::kI32 && x.quantization->zero_points[0] != 0) {
    return make_error(StatusCode::kUnsupported, "O211", "an i32 operand of rescale must have zero point 0, not {}",
                      x.quantization->zero_points[0]);
  }
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, x.shape));
  const float from = scale_of(x.quantization ? &*x.quantization : nullptr);
  const float to = scale_of(y.quantization ? &*y.quantization : nullptr);
  const float multiplier = hai_multiplier_ratio(from, to);
  if (!hai_multiplier_usable(multiplier)) {
    return make_error(StatusCode::kOutOfRange, "O212", "scales {} and {} give multiplier {}, outside [2^-40, 2^8]",
                      from, to, multiplier);
  }
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const float multiplier = hai_multiplier_ratio(scale_of(x), scale_of(y));
  const bool wide = bit_width(x.dtype) > 8 || bit_width(y.dtype) > 8;
  for (int64_t i = 0; i < x.count(); ++i) {
    const auto q = static_cast<int32_t>(load_integer(x, i));
    store_integer(y, i,
                  wide ? hai_rescale_wide(q, zero_point_of(x), multiplier, output_range(y))
                       : hai_rescale(q, zero_point_of(x), multiplier, output_range(y)));
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType from, Quantization x_scale, DataType to, Quantization y_scale) {
    Sample sample;
    sample.name = std::move(name);
    SampleInput x;
    x.type = {from, {1, 13, 19, 3}, std::move(x_scale)};
    sample.inputs = {std::move(x)};
    sample.outputs = {ir::TensorType{to, {1, 13, 19, 3}, std::move(y_scale)}};
    out.push_back(std::move(sample));
  };
  const auto q = [](float scale, int32_t zero_point) { return per_tensor_quantization(scale, zero_point); };
  add("finer_i8", DataType::kI8, q(0.05F, -3), DataType::kI8, q(0.031F, 7));
  add("coarser_i8", DataType::kI8, q(0.011F, 100), DataType::kI8, q(0.5F, -128));
  add("identity_i8", DataType::kI8, q(0.05F, -3), DataType::kI8, q(0.05F, -3));
  add("u8_to_i8", DataType::kU8, q(0.02F, 128), DataType::kI8, q(0.02F, 0));
  add("i8_to_u8", DataType::kI8, q(0.02F, 0), DataType::kU8, q(0.03F, 131));
  add("i8_to_i16", DataType::kI8, q(0.02F, 5), DataType::kI16, q(0.0001F, -9));
  add("i16_to_i8", DataType::kI16, q(0.0002F, 5), DataType::kI8, q(0.03F, -9));
  add("i16_to_u8", DataType::kI16, q(0.0002F, -3), DataType::kU8, q(0.02F, 131));
  add("i32_to_i8", DataType::kI32, q(0.000004F, 0), DataType::kI8, q(0.03F, -9));
  return out;
}

}  // namespace

std::span<const OpSchema> rescale_schemas();
std::span<const OpSchema> rescale_schemas() {
  static const std::vector<OpSchema> schemas = [] {
    OpSchema schema;
    schema.name = "rescale";
    schema.doc =
        "The same real value in another integer type, scale or zero point: y = store((q - z_x) M), M = s_x / s_y.";
    schema.inputs = {{"x", "i8, u8, i16 or i32 (zero point 0) with one scale"}};
    schema.outputs = {{"y", "shape of x, declared integer type"}};
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    schema.explained_holes = {{"onnx", "made by passes only"}, {"gradient", "integers have none"}};
    return std::vector<OpSchema>{schema};
  }();
  return schemas;
}

}  // namespace hai::ops

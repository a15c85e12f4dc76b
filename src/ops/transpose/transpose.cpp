// transpose: axes in another order; axis i of y is axis permutation[i] of x.
//
// Elements keep their bits; scales per slice move with their axis.
#include <fmt/format.h>

#include <algorithm>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema&, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  const auto permutation = context.node.ints_attribute("permutation");
  Rule<Shape> shape = shape_rules::transpose(x.shape, permutation);
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O390", "{}", shape.reason());
  int scale_axis = scale_axis_of(x);
  if (scale_axis >= 0) {
    const auto at = std::find(permutation.begin(), permutation.end(), scale_axis);
    scale_axis = at == permutation.end() ? -1 : static_cast<int>(at - permutation.begin());
  }
  HAI_TRY(ir::TensorType y, moved_with_scales(context, 0, std::move(*shape), scale_axis));
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const auto permutation = context.node.ints_attribute("permutation");
  const Index from = strides_of(x.dims);
  Index strides{};
  for (size_t i = 0; i < permutation.size(); ++i) strides[i] = from[static_cast<size_t>(permutation[i])];
  int64_t next = 0;
  for_each_index(y.dims,
                 [&](const Index& index) { move_element(y, next++, x, offset_of(index, strides, y.dims.rank)); });
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  const Quantization scale = per_tensor_quantization(0.05F, -7);
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, Ints permutation,
                       std::optional<Quantization> quantization = {}) {
    out.push_back(make_sample(std::move(name), {sample_input(dtype, std::move(shape), std::move(quantization))},
                              {{"permutation", std::move(permutation)}}));
  };
  add("nchw_to_nhwc", DataType::kF32, {1, 3, 127, 113}, {0, 2, 3, 1});
  add("nhwc_to_nchw", DataType::kF32, {2, 13, 19, 67}, {0, 3, 1, 2});
  add("matrix", DataType::kF32, {127, 67}, {1, 0});
  add("identity", DataType::kF32, {5, 7, 3}, {0, 1, 2});
  add("heads", DataType::kF32, {2, 19, 5, 13}, {0, 2, 1, 3});
  add("reversed", DataType::kF32, {3, 5, 7, 2, 4}, {4, 3, 2, 1, 0});
  add("swap_first", DataType::kF32, {13, 1, 19, 4}, {2, 1, 0, 3});
  add("empty", DataType::kF32, {3, 0, 4}, {2, 0, 1});
  add("i8_nchw_to_nhwc", DataType::kI8, {1, 35, 19, 21}, {0, 2, 3, 1}, scale);
  add("i8_nhwc_to_nchw", DataType::kI8, {1, 19, 21, 64}, {0, 3, 1, 2}, scale);
  add("u8_matrix", DataType::kU8, {127, 133}, {1, 0}, per_tensor_quantization(0.02F, 100));
  add("f16_matrix", DataType::kF16, {19, 37}, {1, 0});
  add("f64_matrix", DataType::kF64, {13, 7}, {1, 0});
  add("i64_cube", DataType::kI64, {3, 5, 7}, {1, 2, 0});
  add("pixel_shuffle", DataType::kF32, {1, 7, 5, 2, 2, 3}, {0, 1, 3, 2, 4, 5});
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "transpose";
  schema.doc = "Axis i of y is axis permutation[i] of x.";
  schema.inputs = {{"x", "any shape"}};
  schema.outputs = {{"y", "the sizes of x, permuted"}};
  schema.attributes = {{"permutation", AttributeKind::kInts, "each axis of x once", true}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Transpose"};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> transpose_schemas();
std::span<const OpSchema> transpose_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

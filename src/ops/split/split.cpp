// split: cuts a tensor into parts along one axis.
//
// Elements and scales stay as they are; the parts cover the axis without gaps, in order.
#include <fmt/format.h>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema&, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  const Rule<int> axis = shape_rules::axis(context.node.int_attribute("axis", 0), x.shape.size());
  if (!axis) return make_error(StatusCode::kInvalidArgument, "O350", "attribute \"axis\": {}", axis.reason());
  const Rule<std::vector<Shape>> parts = shape_rules::split(x.shape, *axis, context.node.ints_attribute("sizes"));
  if (!parts) return make_error(StatusCode::kInvalidArgument, "O351", "{}", parts.reason());
  std::vector<ir::TensorType> out;
  for (const Shape& part : *parts) {
    const int scale_axis = scale_axis_of(x);
    HAI_TRY(ir::TensorType y, moved_with_scales(context, 0, part, scale_axis == *axis ? -1 : scale_axis));
    out.push_back(std::move(y));
  }
  return out;
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const auto axis =
      static_cast<size_t>(*shape_rules::axis(context.node.int_attribute("axis", 0), static_cast<size_t>(x.dims.rank)));
  const Index strides = strides_of(x.dims);
  int64_t begin = 0;
  for (const MutableTensorView& y : context.outputs) {
    int64_t next = 0;
    for_each_index(y.dims, [&](const Index& index) {
      move_element(y, next++, x, offset_of(index, strides, x.dims.rank) + begin * strides[axis]);
    });
    begin += y.dims.size[axis];
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.inputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, int64_t axis, Ints sizes,
                       std::optional<Quantization> scale = {}) {
    out.push_back(make_sample(std::move(name), {sample_input(dtype, std::move(shape), std::move(scale))},
                              {{"axis", axis}, {"sizes", std::move(sizes)}}));
  };
  add("channels", DataType::kF32, {1, 13, 19, 35}, -1, {16, 3, 16});
  add("rows", DataType::kF32, {2, 19, 13, 3}, 1, {13, 6});
  add("halves_i8", DataType::kI8, {1, 13, 19, 64}, 3, {32, 32}, per_tensor_quantization(0.05F, -7));
  add("with_empty", DataType::kF32, {3, 7}, 1, {0, 7});
  add("one", DataType::kF32, {3, 7}, 0, {3});
  add("large", DataType::kF32, {1, 113, 127, 24}, 3, {8, 16});
  add("u8", DataType::kU8, {127, 5}, 1, {2, 2, 1}, per_tensor_quantization(0.02F, 100));
  add("i64", DataType::kI64, {7}, 0, {3, 4});
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "split";
  schema.doc = "Cuts x along an axis into parts of the given sizes, which sum to the size of the axis.";
  schema.inputs = {{"x", "any shape"}};
  schema.outputs = {{"parts", "one output for each size", false, true}};
  schema.attributes = {{"axis", AttributeKind::kInt, "axis to cut along; negative counts from the end; default 0"},
                       {"sizes", AttributeKind::kInts, "size of each part along the axis", true}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Split"};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> split_schemas();
std::span<const OpSchema> split_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

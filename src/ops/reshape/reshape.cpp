// reshape: the same elements in the same order under another shape.
//
// A view: devices may share the buffer. Scales per slice stay when their axis survives whole, else they are refused.
#include <fmt/format.h>

#include <algorithm>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

// Where axis `axis` of `from` stands in `to`: the same size after the same number of elements; -1 when it is torn
// apart.
int axis_after_reshape(const Shape& from, const Shape& to, int axis) {
  if (axis < 0) return -1;
  const auto before = element_count(std::span<const Dim>(from).first(static_cast<size_t>(axis)));
  for (size_t i = 0; i < to.size(); ++i) {
    const auto here = element_count(std::span<const Dim>(to).first(i));
    if (before && here && *before == *here && to[i] == from[static_cast<size_t>(axis)]) return static_cast<int>(i);
  }
  return -1;
}

InferResult infer(const OpSchema&, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  Rule<Shape> shape = shape_rules::reshape(x.shape, context.node.ints_attribute("shape"));
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O380", "{}", shape.reason());
  const int scale_axis = axis_after_reshape(x.shape, *shape, scale_axis_of(x));
  HAI_TRY(ir::TensorType y, moved_with_scales(context, 0, std::move(*shape), scale_axis));
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  std::copy_n(x.data, x.size_bytes(), context.outputs[0].data);
  return {};
}

Cost cost(const OpSchema&, const CostContext&) { return {}; }

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, Ints target,
                       std::optional<Quantization> scale = {}) {
    out.push_back(make_sample(std::move(name), {sample_input(dtype, std::move(shape), std::move(scale))},
                              {{"shape", std::move(target)}}));
  };
  add("flatten", DataType::kF32, {2, 7, 5, 3}, {0, -1});
  add("unflatten", DataType::kF32, {1, 13 * 19}, {0, 13, 19, 1});
  add("infer_first", DataType::kF32, {3, 35}, {-1, 7, 5});
  add("vector", DataType::kF32, {13, 19}, {-1});
  add("scalar", DataType::kF32, {1, 1}, {});
  add("empty", DataType::kF32, {0, 3}, {0, 3, 1});
  add("i8", DataType::kI8, {1, 13, 19, 3}, {0, 247, 3}, per_tensor_quantization(0.05F, -7));
  add("i64", DataType::kI64, {6}, {2, 3});
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "reshape";
  schema.doc =
      "y has the elements of x in the same row-major order under another shape: 0 copies the size of x at that place, "
      "one -1 is inferred.";
  schema.inputs = {{"x", "any shape"}};
  schema.outputs = {{"y", "the given shape, with as many elements as x"}};
  schema.attributes = {{"shape", AttributeKind::kInts, "sizes; 0 copies, -1 infers", true}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"};
  schema.is_view = true;
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> reshape_schemas();
std::span<const OpSchema> reshape_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

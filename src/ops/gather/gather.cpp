// gather: slices of x along one axis, chosen by an index tensor.
//
// A negative index counts from the end. Indices are data: one that is out of range is clamped to the nearest slice, the
// same on every device, since a running program cannot fail; where the indices are constants it is an error.
#include <fmt/format.h>

#include <algorithm>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

Status check_constant_indices(const InferContext& context, int64_t size) {
  const ir::TensorType& type = input_type(context, 1);
  const ir::ConstantData* data = context.constants.size() > 1 ? context.constants[1] : nullptr;
  if (data == nullptr || !is_static(type.shape)) return {};
  const TensorView view{type.dtype, resolve(type.shape, {}), data->bytes().data(), nullptr};
  for (int64_t i = 0; i < view.count(); ++i) {
    const int64_t index = load_integer(view, i);
    if (index >= -size && index < size) continue;
    return make_error(StatusCode::kOutOfRange, "O410", "index {} at position {} is outside [{}, {})", index, i, -size,
                      size);
  }
  return {};
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  const ir::TensorType& indices = input_type(context, 1);
  HAI_TRY_STATUS(require_dtype(schema, context, 1, kPlainIntegers));
  const Rule<int> axis = shape_rules::axis(context.node.int_attribute("axis", 0), x.shape.size());
  if (!axis) return make_error(StatusCode::kInvalidArgument, "O411", "attribute \"axis\": {}", axis.reason());
  Rule<Shape> shape = shape_rules::gather(x.shape, indices.shape, *axis);
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O412", "{}", shape.reason());
  const Dim& dim = x.shape[static_cast<size_t>(*axis)];
  if (!dim.is_symbolic()) HAI_TRY_STATUS(check_constant_indices(context, dim.value));
  int scale_axis = scale_axis_of(x);
  if (scale_axis > *axis) {
    scale_axis += static_cast<int>(indices.shape.size()) - 1;
  } else if (scale_axis == *axis) {
    scale_axis = -1;
  }
  HAI_TRY(ir::TensorType y, moved_with_scales(context, 0, std::move(*shape), scale_axis));
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& indices = context.inputs[1];
  const MutableTensorView& y = context.outputs[0];
  const int axis = *shape_rules::axis(context.node.int_attribute("axis", 0), static_cast<size_t>(x.dims.rank));
  const int64_t size = x.dims[axis];
  const int64_t inner = strides_of(x.dims)[static_cast<size_t>(axis)];
  const int64_t count = indices.count();
  for (int64_t to = 0; to < y.count(); ++to) {
    const int64_t given = load_integer(indices, to / inner % count);
    const int64_t index = std::clamp<int64_t>(given < 0 ? given + size : given, 0, size - 1);
    move_element(y, to, x, (to / inner / count * size + index) * inner + to % inner);
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, DataType index_type, Shape indices, int64_t axis,
                       std::optional<Quantization> scale = {}, bool constant = false) {
    SampleInput x = sample_input(dtype, std::move(shape), std::move(scale));
    const auto normal = static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(x.type.shape.size()) : axis);
    SampleInput index = sample_input(index_type, std::move(indices));
    index.integers_in_bounds = true;
    index.high = static_cast<double>(x.type.shape[normal].value - 1);
    index.low = -index.high;
    index.constant = constant;
    out.push_back(make_sample(std::move(name), {std::move(x), std::move(index)}, {{"axis", axis}}));
  };
  add("rows", DataType::kF32, {127, 19}, DataType::kI64, {13}, 0);
  add("embedding", DataType::kF32, {113, 35}, DataType::kI32, {2, 7}, 0);
  add("middle", DataType::kF32, {3, 13, 5}, DataType::kI64, {7}, 1);
  add("last", DataType::kF32, {3, 5, 19}, DataType::kI64, {2, 3}, -1);
  add("one", DataType::kF32, {13, 3}, DataType::kI64, {}, 0);
  add("constant", DataType::kF32, {1, 13, 19}, DataType::kI64, {4}, 2, {}, true);
  add("i8", DataType::kI8, {19, 67}, DataType::kI64, {13}, 0, per_tensor_quantization(0.05F, -7));
  add("i64", DataType::kI64, {4}, DataType::kI64, {1}, 0);
  // Indices past both ends: clamped.
  SampleInput wild = sample_input(DataType::kI32, {19});
  wild.integers_in_bounds = true;
  wild.low = -40;
  wild.high = 40;
  out.push_back(make_sample("out_of_range", {sample_input(DataType::kF32, {13, 3}), wild}, {{"axis", int64_t{0}}}));
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "gather";
  schema.doc =
      "y = x with the axis replaced by the axes of indices: y[.., i, ..] = x[.., indices[i], ..]. A negative index "
      "counts from the end; one out of range is clamped to the nearest slice (an error when the indices are constant).";
  schema.inputs = {{"x", "rank 1 or more"}, {"indices", "i32 or i64, any shape"}};
  schema.outputs = {{"y", "x.shape[:axis] + indices.shape + x.shape[axis + 1:]"}};
  schema.attributes = {{"axis", AttributeKind::kInt, "axis to choose along; negative counts from the end; default 0"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Gather"};
  schema.explained_holes = {{"sd3403", "rows that data chooses: on the CPU"}};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> gather_schemas();
std::span<const OpSchema> gather_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

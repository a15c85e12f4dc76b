// slice: every step-th element from start up to end along some axes.
//
// Bounds are normalised (importers see to it), so that the operator has one meaning: what is out of range is an error,
// not clamped.
#include <fmt/format.h>

#include <algorithm>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema&, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  const auto axes = context.node.ints_attribute("axes");
  Rule<Shape> shape =
      shape_rules::slice(x.shape, context.node.ints_attribute("starts"), context.node.ints_attribute("ends"), axes,
                         context.node.ints_attribute("steps"));
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O360", "{}", shape.reason());
  int scale_axis = scale_axis_of(x);
  for (const int64_t axis : axes) {
    if (*shape_rules::axis(axis, x.shape.size()) == scale_axis) scale_axis = -1;
  }
  HAI_TRY(ir::TensorType y, moved_with_scales(context, 0, std::move(*shape), scale_axis));
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const auto axes = context.node.ints_attribute("axes");
  const auto starts = context.node.ints_attribute("starts");
  const auto steps = context.node.ints_attribute("steps");
  Index start{};
  Index step{};
  step.fill(1);
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(*shape_rules::axis(axes[i], static_cast<size_t>(x.dims.rank)));
    start[axis] = starts[i];
    step[axis] = steps.empty() ? 1 : steps[i];
  }
  const Index strides = strides_of(x.dims);
  int64_t next = 0;
  for_each_index(y.dims, [&](const Index& index) {
    int64_t from = 0;
    for (size_t axis = 0; axis < static_cast<size_t>(x.dims.rank); ++axis) {
      from += (start[axis] + index[axis] * step[axis]) * strides[axis];
    }
    move_element(y, next++, x, from);
  });
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, Ints starts, Ints ends, Ints axes, Ints steps,
                       std::optional<Quantization> scale = {}) {
    ir::Attributes attributes = {{"starts", std::move(starts)}, {"ends", std::move(ends)}, {"axes", std::move(axes)}};
    if (!steps.empty()) attributes["steps"] = std::move(steps);
    out.push_back(
        make_sample(std::move(name), {sample_input(dtype, std::move(shape), std::move(scale))}, std::move(attributes)));
  };
  add("channels", DataType::kF32, {1, 13, 19, 35}, {3}, {19}, {-1}, {});
  add("crop", DataType::kF32, {2, 19, 13, 3}, {1, 2}, {18, 13}, {1, 2}, {1, 1});
  add("every_second", DataType::kF32, {1, 13, 19, 3}, {0, 1}, {13, 19}, {1, 2}, {2, 2});  // as in a focus layer
  add("every_third_channel", DataType::kF32, {1, 7, 5, 19}, {1}, {19}, {3}, {3});
  add("reversed", DataType::kF32, {3, 13}, {12}, {-1}, {1}, {-1});
  add("reversed_steps", DataType::kF32, {13, 5, 4}, {11, 4}, {0, -1}, {0, 1}, {-3, -2});
  add("empty", DataType::kF32, {3, 13}, {5}, {5}, {1}, {});
  add("whole", DataType::kF32, {3, 13}, {0}, {13}, {1}, {});
  add("large", DataType::kF32, {1, 127, 113, 16}, {1, 4}, {120, 12}, {1, 3}, {});
  add("i8", DataType::kI8, {1, 13, 19, 67}, {5}, {64}, {3}, {}, per_tensor_quantization(0.05F, -7));
  add("i8_every_second", DataType::kI8, {1, 14, 18, 3}, {1, 0}, {14, 18}, {1, 2}, {2, 2},
      per_tensor_quantization(0.05F, -7));
  add("f16", DataType::kF16, {13, 7}, {2, 1}, {13, 6}, {0, 1}, {2, 3});
  add("i64", DataType::kI64, {7}, {2}, {5}, {0}, {});
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "slice";
  schema.doc =
      "y = x[start : end : step] along each of the axes. For step > 0: 0 <= start, end <= size; for step < 0: "
      "-1 <= start, end < size (an end of -1 takes element 0 too). A symbolic axis can only be taken whole: start 0, "
      "end 2^63 - 1, step 1.";
  schema.inputs = {{"x", "any shape"}};
  schema.outputs = {{"y", "ceil((end - start) / step) elements along each sliced axis"}};
  schema.attributes = {{"starts", AttributeKind::kInts, "first element along each axis", true},
                       {"ends", AttributeKind::kInts, "one past the last, in the direction of the step", true},
                       {"axes", AttributeKind::kInts, "the axes to slice; negative counts from the end", true},
                       {"steps", AttributeKind::kInts, "distance of taken elements, not 0; default 1"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Slice"};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> slice_schemas();
std::span<const OpSchema> slice_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

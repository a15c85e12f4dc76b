// concat: joins tensors along one axis.
//
// Quantized inputs whose scale differs from the output's are rescaled, each with M = s_x / s_y
// (docs/reference/arithmetic.md, "Rescale"); all other elements keep their bits.
#include <fmt/format.h>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema&, const InferContext& context) {
  const ir::TensorType& first = input_type(context, 0);
  const Rule<int> axis = shape_rules::axis(context.node.int_attribute("axis", 0), first.shape.size());
  if (!axis) return make_error(StatusCode::kInvalidArgument, "O340", "attribute \"axis\": {}", axis.reason());
  std::vector<const Shape*> shapes;
  for (const ir::TensorType* input : context.inputs) shapes.push_back(&input->shape);
  Rule<Shape> shape = shape_rules::concat(shapes, *axis);
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O341", "{}", shape.reason());
  const int scale_axis = scale_axis_of(first);
  HAI_TRY(ir::TensorType y,
          scale_axis < 0 ? rescaled_output(context, 0, std::move(*shape))
                         : moved_with_scales(context, 0, std::move(*shape), scale_axis == *axis ? -1 : scale_axis));
  for (size_t i = 1; i < context.inputs.size(); ++i) {
    if (auto status = require_rescalable(input_type(context, i), y); !status) {
      return with_where(status.error(), fmt::format("input {}", i));
    }
  }
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const MutableTensorView& y = context.outputs[0];
  const int axis = *shape_rules::axis(context.node.int_attribute("axis", 0), static_cast<size_t>(y.dims.rank));
  const Index strides = strides_of(y.dims);
  int64_t begin = 0;
  for (const TensorView& x : context.inputs) {
    int64_t next = 0;
    for_each_index(x.dims, [&](const Index& index) {
      const int64_t to = offset_of(index, strides, y.dims.rank) + begin * strides[static_cast<size_t>(axis)];
      const bool same = !x.quantization || !y.quantization || *x.quantization == *y.quantization;
      if (same) {
        move_element(y, to, x, next);
      } else {
        store_integer(y, to, rescaled(x, y, load_integer(x, next)));
      }
      ++next;
    });
    begin += x.dims[axis];
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  const Quantization a = per_tensor_quantization(0.05F, -7);
  const Quantization b = per_tensor_quantization(0.11F, 20);
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, std::vector<Shape> shapes, int64_t axis,
                       const std::vector<Quantization>& scales = {}) {
    std::vector<SampleInput> inputs;
    for (size_t i = 0; i < shapes.size(); ++i) {
      inputs.push_back(sample_input(dtype, std::move(shapes[i])));
      if (i < scales.size()) inputs.back().type.quantization = scales[i];
    }
    Sample sample = make_sample(std::move(name), std::move(inputs), {{"axis", axis}});
    if (!scales.empty()) sample = declaring(std::move(sample), dtype, scales.back());
    out.push_back(std::move(sample));
  };
  add("channels", DataType::kF32, {{1, 13, 19, 16}, {1, 13, 19, 35}, {1, 13, 19, 3}}, -1);
  add("rows", DataType::kF32, {{2, 5, 19, 3}, {2, 13, 19, 3}}, 1);
  add("batch", DataType::kF32, {{2, 5}, {2, 5}, {2, 5}}, 0);
  add("one", DataType::kF32, {{3, 7}}, 1);
  add("with_empty", DataType::kF32, {{3, 7}, {3, 0}, {3, 2}}, 1);
  add("large", DataType::kF32, {{1, 113, 127, 8}, {1, 113, 127, 24}}, 3);
  add("i8_same_scale", DataType::kI8, {{1, 13, 19, 16}, {1, 13, 19, 35}}, 3, {a, a, a});
  add("i8_rescaled", DataType::kI8, {{1, 13, 19, 16}, {1, 13, 19, 67}}, 3, {a, b, b});
  add("i8_both_rescaled", DataType::kI8, {{2, 13, 19}, {2, 7, 19}}, 1, {a, b, per_tensor_quantization(0.2F, 0)});
  add("u8_rescaled", DataType::kU8, {{1, 127, 3}, {1, 127, 5}}, 2,
      {per_tensor_quantization(0.02F, 100), per_tensor_quantization(0.05F, 30), per_tensor_quantization(0.05F, 30)});
  add("i16_rescaled", DataType::kI16, {{1, 13, 3}, {1, 13, 5}}, 2,
      {per_tensor_quantization(0.001F, 0), per_tensor_quantization(0.002F, 0), per_tensor_quantization(0.002F, 0)});
  add("i64", DataType::kI64, {{3}, {4}}, 0);
  add("f16", DataType::kF16, {{3, 5}, {3, 2}}, 1);
  add("bool", DataType::kBool, {{3, 5}, {3, 2}}, 1);
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "concat";
  schema.doc =
      "Joins the inputs along an axis; all other sizes are equal. Quantized inputs may differ in scale: each element "
      "becomes rescale(q - z_x, s_x / s_y) in the declared output (default: scale of the first input).";
  schema.inputs = {{"inputs", "one or more tensors of one element type and rank", false, true}};
  schema.outputs = {{"y", "sizes of the inputs, summed along the axis"}};
  schema.attributes = {{"axis", AttributeKind::kInt, "axis to join along; negative counts from the end; default 0"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Concat"};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> concat_schemas();
std::span<const OpSchema> concat_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

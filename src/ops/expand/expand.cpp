// expand: repeats x along axes of size 1, and adds leading axes, until it has the wanted shape (NumPy broadcast_to).
//
// Elements and scale stay as they are. Operators that broadcast by themselves do not need it. A second operand lends
// nothing but its first dimension: a free batch, along which a constant is repeated.
#include <fmt/format.h>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema&, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  const std::vector<int64_t> target = context.node.ints_attribute("shape");
  Rule<Shape> shape = has_input(context, 1) ? shape_rules::expand_over(x.shape, target, input_type(context, 1).shape)
                                            : shape_rules::expand(x.shape, target);
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O420", "{}", shape.reason());
  int scale_axis = scale_axis_of(x);
  if (scale_axis >= 0) {
    const int moved = scale_axis + static_cast<int>(shape->size() - x.shape.size());
    scale_axis = (*shape)[static_cast<size_t>(moved)] == x.shape[static_cast<size_t>(scale_axis)] ? moved : -1;
  }
  HAI_TRY(ir::TensorType y, moved_with_scales(context, 0, std::move(*shape), scale_axis));
  return std::vector<ir::TensorType>{std::move(y)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const Index strides = broadcast_strides(x.dims, y.dims);
  int64_t next = 0;
  for_each_index(y.dims,
                 [&](const Index& index) { move_element(y, next++, x, offset_of(index, strides, y.dims.rank)); });
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, Ints target,
                       std::optional<Quantization> scale = {}) {
    out.push_back(make_sample(std::move(name), {sample_input(dtype, std::move(shape), std::move(scale))},
                              {{"shape", std::move(target)}}));
  };
  add("rows", DataType::kF32, {1, 19}, {13, 19});
  add("columns", DataType::kF32, {13, 1}, {-1, 19});
  add("leading", DataType::kF32, {5, 1, 3}, {2, 5, 7, 3});
  add("keep", DataType::kF32, {3, 7}, {-1, -1});
  add("scalar", DataType::kF32, {}, {3, 5});
  add("alternating", DataType::kF32, {1, 3, 1, 5}, {2, 3, 4, 5});
  add("i8", DataType::kI8, {1, 1, 1, 67}, {1, 13, 19, 67}, per_tensor_quantization(0.05F, -7));
  add("i8_last", DataType::kI8, {13, 1}, {13, 127}, per_tensor_quantization(0.05F, -7));
  add("i64", DataType::kI64, {1}, {4});
  add("to_empty", DataType::kF32, {1, 3}, {0, 3});
  for (const DataType dtype : {DataType::kF32, DataType::kI8}) {
    add(dtype == DataType::kI8 ? "over_batch_i8" : "over_batch", dtype, {1, 2, 19}, {-1, -1, -1},
        dtype == DataType::kI8 ? std::optional(per_tensor_quantization(0.05F, -7)) : std::nullopt);
    out.back().inputs[0].constant = true;
    out.back().inputs.push_back(sample_input(DataType::kF32, {3, 5}));
  }
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "expand";
  schema.doc = "x broadcast to a shape: axes are aligned at the last one, and axes of size 1 are repeated.";
  schema.inputs = {{"x", "any shape"}, {"batch", "any tensor: y's first axis is as long as its first one", true}};
  schema.outputs = {{"y", "the given shape"}};
  schema.attributes = {{"shape", AttributeKind::kInts,
                        "the wanted sizes; -1 keeps the size of x, or, first and with \"batch\", takes that", true}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Expand"};
  schema.explained_holes = {{"sd3403", "broadcasting operands need none; alone it is the CPU's"}};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> expand_schemas();
std::span<const OpSchema> expand_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

// gather_gradient: the slices of dy are added where gather took them from; slices that nobody took are zero.
//
// Indices mean what they mean to gather: a negative one counts from the end, one out of range is clamped. Made by
// differentiation (ops/gradient.h). Floats are summed in f64 and rounded once.
#include <algorithm>

#include "ops/data_movement.h"
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kPlainIntegers));
  HAI_TRY_STATUS(require_dtype(schema, context, 1, kFloatTypes));
  const Shape& indices = input_type(context, 0).shape;
  const Shape& dy = input_type(context, 1).shape;
  HAI_TRY(const int64_t axis, bounded_int(context.node, "axis", 0, 0, kMaxRank - 1));
  HAI_TRY(const int64_t size, bounded_int(context.node, "size", 1, 1, INT64_MAX));
  const auto at = static_cast<size_t>(axis);
  const bool per_sample = context.node.int_attribute("per_sample", 0) != 0;
  if (per_sample && (indices.empty() || !indices[0].is_symbolic() || axis != 0)) {
    return make_error(StatusCode::kInvalidArgument, "O531",
                      "indices {} at axis {}: with per_sample their first size hangs on the batch, and the axis is 0",
                      to_string(indices, context.symbols), axis);
  }
  Shape x = dy;
  const bool long_enough = at + indices.size() <= dy.size();
  if (long_enough) {
    x.erase(x.begin() + axis, x.begin() + axis + static_cast<int64_t>(indices.size()));
    x.insert(x.begin() + axis, Dim(size, per_sample ? indices[0].symbol : -1));
  }
  const Rule<Shape> y = shape_rules::gather(x, indices, static_cast<int>(axis));
  if (!long_enough || !y || *y != dy) {
    return make_error(StatusCode::kInvalidArgument, "O530", "dy {} is no result of a gather with indices {} at axis {}",
                      to_string(dy, context.symbols), to_string(indices, context.symbols), axis);
  }
  return std::vector<ir::TensorType>{{input_type(context, 1).dtype, x, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& indices = context.inputs[0];
  const std::vector<double> dy = load_all_f64(context.inputs[1]);
  const Dims& x = context.outputs[0].dims;
  const auto axis = static_cast<size_t>(context.node.int_attribute("axis", 0));
  const int64_t size = x.size[axis];
  const int64_t inner = strides_of(x)[axis];
  const int64_t count = indices.count();
  std::vector<double> sums(static_cast<size_t>(x.count()), 0.0);
  for (int64_t i = 0; i < static_cast<int64_t>(dy.size()); ++i) {
    const int64_t given = load_integer(indices, i / inner % count);
    const int64_t index = std::clamp<int64_t>(given < 0 ? given + size : given, 0, size - 1);
    sums[static_cast<size_t>((i / inner / count * size + index) * inner + i % inner)] += dy[static_cast<size_t>(i)];
  }
  store_all_f64(context.outputs[0], sums);
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.inputs[1].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, DataType index_type, Shape indices, Shape dy, int64_t axis,
                       int64_t size, double reach) {
    SampleInput index = sample_input(index_type, std::move(indices));
    index.integers_in_bounds = true;
    index.low = -reach;
    index.high = reach;
    out.push_back(make_sample(name, {index, sample_input(dtype, std::move(dy))}, {{"axis", axis}, {"size", size}}));
    out.back().tolerance = dtype == DataType::kF64 ? 1e-14 : 1e-6;
  };
  add("rows", DataType::kF32, DataType::kI64, {13}, {13, 19}, 0, 127, 126);
  add("repeated", DataType::kF32, DataType::kI32, {2, 70}, {2, 70, 150}, 0, 5, 4);
  add("middle", DataType::kF32, DataType::kI64, {7}, {3, 7, 5}, 1, 13, 12);
  add("last", DataType::kF32, DataType::kI64, {2, 3}, {3, 5, 2, 3}, 2, 19, 18);
  add("one", DataType::kF32, DataType::kI64, {}, {3}, 0, 13, 12);
  add("out_of_range", DataType::kF32, DataType::kI32, {19}, {19, 3}, 0, 13, 40);
  add("f64", DataType::kF64, DataType::kI64, {4}, {2, 4}, 1, 3, 2);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "gather_gradient";
  schema.doc =
      "dx[.., indices[i], ..] += dy[.., i, ..]: the gradient of x of a gather along `axis`, whose size is an "
      "attribute. "
      "Indices are taken as gather takes them. Floats only.";
  schema.inputs = {{"indices", "i32 or i64, any shape"}, {"dy", "the gradient of gather's y"}};
  schema.outputs = {{"dx", "dy's shape with the axes of the indices replaced by one of `size`"}};
  schema.attributes = {{"size", AttributeKind::kInt, "size of x along the axis", true},
                       {"per_sample", AttributeKind::kInt, "1: size is that for each sample of the free batch"},
                       {"axis", AttributeKind::kInt, "not negative; default 0"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by differentiation only"},
                            {"sd3403", "training runs on the CPU"},
                            {"gradient", "second derivatives are not built"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> gather_gradient_schemas();
std::span<const OpSchema> gather_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

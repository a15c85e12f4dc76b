// ciou_gradient: dy times the derivatives of ciou by its first box and by alpha.
//
// Made by differentiation (ops/gradient.h). Where edges of both boxes meet, each has half of the derivative, as in
// PyTorch's minimum and maximum. Floats are computed in f64 and rounded once.
#include "ops/data_movement.h"
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/box_overlap.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  for (const size_t i : {1U, 2U, 3U}) HAI_TRY_STATUS(require_same_dtype(schema, context, i, 0));
  const ir::TensorType& a = input_type(context, 0);
  Shape pairs = a.shape;
  if (!pairs.empty()) pairs.pop_back();
  if (a.shape.empty() || a.shape.back() != Dim(4) || input_type(context, 1).shape != a.shape ||
      input_type(context, 2).shape != pairs || input_type(context, 3).shape != pairs) {
    return make_error(StatusCode::kInvalidArgument, "O561",
                      "boxes {} and {} with alpha {} and dy {}: boxes are [.., 4] of one shape, the others theirs "
                      "without the 4",
                      to_string(a.shape, context.symbols), to_string(input_type(context, 1).shape, context.symbols),
                      to_string(input_type(context, 2).shape, context.symbols),
                      to_string(input_type(context, 3).shape, context.symbols));
  }
  return std::vector<ir::TensorType>{{a.dtype, a.shape, std::nullopt}, {a.dtype, pairs, std::nullopt}};
}

CenterBox box_at(const TensorView& view, int64_t i) {
  return {load_f64(view, 4 * i), load_f64(view, 4 * i + 1), load_f64(view, 4 * i + 2), load_f64(view, 4 * i + 3)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  for (int64_t i = 0; i < context.outputs[1].count(); ++i) {
    const CenterBox a = box_at(context.inputs[0], i);
    const CenterBox b = box_at(context.inputs[1], i);
    CenterBox gradient;
    double shape = 0;
    if (is_real_box(a) && is_real_box(b)) {
      const BoxOverlap overlap = overlap_of(a, b);
      gradient = ciou_gradient_of(a, b, overlap, load_f64(context.inputs[2], i));
      shape = overlap.shape;
    }
    const double dy = load_f64(context.inputs[3], i);
    store_f64(context.outputs[0], 4 * i, dy * gradient.x);
    store_f64(context.outputs[0], 4 * i + 1, dy * gradient.y);
    store_f64(context.outputs[0], 4 * i + 2, dy * gradient.width);
    store_f64(context.outputs[0], 4 * i + 3, dy * gradient.height);
    store_f64(context.outputs[1], i, -dy * shape);
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 150 * context.outputs[1].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, Shape pairs, double low, double high) {
    Shape boxes = pairs;
    boxes.emplace_back(4);
    SampleInput a = sample_input(dtype, boxes);
    a.low = low;
    a.high = high;
    SampleInput alpha = sample_input(dtype, pairs);
    alpha.low = 0;
    out.push_back(make_sample(name, {a, a, alpha, sample_input(dtype, std::move(pairs))}, {}));
  };
  add("overlapping", DataType::kF32, {127}, 0.3, 2);
  add("apart", DataType::kF32, {3, 19}, 0.1, 9);
  add("some_empty", DataType::kF32, {2, 70}, -1, 3);
  add("f64", DataType::kF64, {13}, 0.2, 3);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "ciou_gradient";
  schema.doc =
      "The gradients of ciou: da = dy dCIoU / da, dalpha = -dy v; 0 where a box has no area. ciou is symmetric, so the "
      "gradient of b is that of a with both exchanged. Floats only.";
  schema.inputs = {{"a", "[.., 4]: centre x, y, width, height"},
                   {"b", "as a"},
                   {"alpha", "[..]"},
                   {"dy", "[..]: the gradient of ciou's y"}};
  schema.outputs = {{"da", "[.., 4]"}, {"dalpha", "[..]"}};
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

std::span<const OpSchema> ciou_gradient_schemas();
std::span<const OpSchema> ciou_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

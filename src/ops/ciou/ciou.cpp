// ciou: complete intersection over union of boxes, pair by pair.
//
// The trade-off alpha is an operand, so that the operator is a plain function of its operands: losses give it as a
// number that was computed elsewhere (anchor_assignment), since no gradient flows through it. Floats are computed in
// f64 and rounded once.
#include "ops/data_movement.h"
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/box_overlap.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  const ir::TensorType& a = input_type(context, 0);
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 2, 0));
  Shape pairs = a.shape;
  if (!pairs.empty()) pairs.pop_back();
  if (a.shape.empty() || a.shape.back() != Dim(4) || input_type(context, 1).shape != a.shape ||
      input_type(context, 2).shape != pairs) {
    return make_error(
        StatusCode::kInvalidArgument, "O560",
        "boxes {} and {} with alpha {}: both are [.., 4] of one shape, alpha has their shape without the 4",
        to_string(a.shape, context.symbols), to_string(input_type(context, 1).shape, context.symbols),
        to_string(input_type(context, 2).shape, context.symbols));
  }
  return std::vector<ir::TensorType>{{a.dtype, pairs, std::nullopt}};
}

CenterBox box_at(const TensorView& view, int64_t i) {
  return {load_f64(view, 4 * i), load_f64(view, 4 * i + 1), load_f64(view, 4 * i + 2), load_f64(view, 4 * i + 3)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  for (int64_t i = 0; i < context.outputs[0].count(); ++i) {
    const CenterBox a = box_at(context.inputs[0], i);
    const CenterBox b = box_at(context.inputs[1], i);
    const bool real = is_real_box(a) && is_real_box(b);
    store_f64(context.outputs[0], i, real ? overlap_of(a, b).ciou(load_f64(context.inputs[2], i)) : 0.0);
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 100 * context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, Shape pairs, double low, double high) {
    Shape boxes = pairs;
    boxes.emplace_back(4);
    SampleInput a = sample_input(dtype, boxes);
    a.low = low;
    a.high = high;
    SampleInput alpha = sample_input(dtype, std::move(pairs));
    alpha.low = 0;
    out.push_back(make_sample(name, {a, a, alpha}, {}));
  };
  add("overlapping", DataType::kF32, {127}, 0.3, 2);
  add("apart", DataType::kF32, {3, 19}, 0.1, 9);
  add("some_empty", DataType::kF32, {2, 70}, -1, 3);
  add("f64", DataType::kF64, {13}, 0.2, 3);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "ciou";
  schema.doc =
      "Complete intersection over union (Zheng et al. 2020): IoU - d^2 / c^2 - alpha v with the distance d of the "
      "centres, the diagonal c of the box around both and v = 4 / pi^2 (atan(w_a / h_a) - atan(w_b / h_b))^2; 0 where "
      "a box has no area. Floats only.";
  schema.inputs = {{"a", "[.., 4]: centre x, y, width, height"}, {"b", "as a"}, {"alpha", "[..]: weight of v"}};
  schema.outputs = {{"y", "[..]"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by losses only"}, {"sd3403", "training runs on the CPU"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> ciou_schemas();
std::span<const OpSchema> ciou_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

// fake_quantize: y = what x would be as an integer and back (types/fake_quantize.h), and its backward step.
//
// Put into training graphs by passes/fake_quantize_layers.h, with the range of what it sees as operands, so that the
// scale follows the weights. Floats only; computed in f64 and rounded once.
#include <algorithm>

#include "ops/inference.h"
#include "ops/reference.h"
#include "types/fake_quantize.h"

namespace hai::ops {
namespace {

constexpr int64_t kMostLimit = 32767;

// Shape of low and high: none, or as many as slices of the axis.
Result<Shape> range_shape(const InferContext& context, const Shape& x) {
  if (!context.node.has_attribute("axis")) return Shape{};
  const int rank = static_cast<int>(x.size());
  HAI_TRY(const int axis, normalise_axis(context.node.int_attribute("axis", 0), rank, "axis"));
  const Dim size = x[static_cast<size_t>(axis)];
  if (size.is_symbolic()) {
    return make_error(StatusCode::kInvalidArgument, "O570", "axis {} of x {} has no fixed size", axis,
                      to_string(x, context.symbols));
  }
  return Shape{size};
}

// x is operand `at`, then come low and high.
Status check(const OpSchema& schema, const InferContext& context, size_t at) {
  HAI_TRY_STATUS(require_dtype(schema, context, at, kFloatTypes));
  HAI_TRY(const Shape ranges, range_shape(context, input_type(context, at).shape));
  for (const size_t i : {at + 1, at + 2}) {
    HAI_TRY_STATUS(require_same_dtype(schema, context, i, at));
    if (input_type(context, i).shape == ranges) continue;
    return make_error(StatusCode::kInvalidArgument, "O571", "low and high must be {}, one of them is {}",
                      to_string(ranges, context.symbols), to_string(input_type(context, i).shape, context.symbols));
  }
  HAI_TRY_STATUS(bounded_int(context.node, "limit", 0, 0, kMostLimit));
  return {};
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(check(schema, context, 0));
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, input_type(context, 0).shape, std::nullopt}};
}

InferResult infer_gradient(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(check(schema, context, 1));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 0, 1));
  if (input_type(context, 0).shape != input_type(context, 1).shape) {
    return make_error(StatusCode::kInvalidArgument, "O572", "dy {} and x {} have different shapes",
                      to_string(input_type(context, 0).shape, context.symbols),
                      to_string(input_type(context, 1).shape, context.symbols));
  }
  return std::vector<ir::TensorType>{{input_type(context, 1).dtype, input_type(context, 1).shape, std::nullopt}};
}

// Calls body(element, grid) for all of x.
template <typename Body>
void for_grids(const ReferenceContext& context, size_t at, Body&& body) {
  const TensorView& x = context.inputs[at];
  const int64_t limit = context.node.int_attribute("limit", 0);
  int64_t inner = std::max<int64_t>(x.count(), 1);
  int64_t slices = 1;
  if (context.node.has_attribute("axis")) {
    const int64_t axis = context.node.int_attribute("axis", 0);
    const auto first = static_cast<int32_t>(axis < 0 ? axis + x.dims.rank : axis);
    slices = x.dims[first];
    inner = 1;
    for (int32_t i = first + 1; i < x.dims.rank; ++i) inner *= x.dims[i];
  }
  for (int64_t i = 0; i < x.count(); ++i) {
    const int64_t slice = i / inner % slices;
    const double low = load_f64(context.inputs[at + 1], slice);
    body(i, hai_make_fake_grid(low, load_f64(context.inputs[at + 2], slice), limit));
  }
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  for_grids(context, 0, [&](int64_t i, const hai_fake_grid& grid) {
    store_f64(context.outputs[0], i, hai_fake_quantize(load_f64(context.inputs[0], i), grid));
  });
  return {};
}

Status reference_gradient(const OpSchema&, const ReferenceContext& context) {
  for_grids(context, 1, [&](int64_t i, const hai_fake_grid& grid) {
    store_f64(context.outputs[0], i,
              hai_fake_gradient(load_f64(context.inputs[1], i), load_f64(context.inputs[0], i), grid));
  });
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 5 * context.outputs[0].count()}; }

// Ranges that are narrower than x, so that some of it is clamped.
std::vector<Sample> samples(const OpSchema& schema) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, const Shape& shape, ir::Attributes attributes) {
    Sample sample;
    sample.name = name;
    sample.op = schema.name;
    SampleInput x;
    x.type = {dtype, shape, std::nullopt};
    SampleInput low = x;
    const auto axis = attributes.find("axis");
    low.type.shape = {};
    if (axis != attributes.end()) low.type.shape = {shape[static_cast<size_t>(std::get<int64_t>(axis->second))]};
    low.low = -0.9;
    low.high = -0.7;
    SampleInput high = low;
    high.low = 0.6;
    high.high = 0.8;
    if (schema.variant == 1) sample.inputs.push_back(x);
    sample.inputs.insert(sample.inputs.end(), {x, low, high});
    sample.attributes = std::move(attributes);
    sample.tolerance = 0;  // the same steps in f64
    out.push_back(std::move(sample));
  };
  add("whole_f32", DataType::kF32, {1, 13, 19, 3}, {});
  add("large_f32", DataType::kF32, {2, 127, 313}, {});
  add("outputs_of_a_filter_f32", DataType::kF32, {13, 3, 3, 7}, {{"axis", int64_t{0}}, {"limit", int64_t{127}}});
  add("four_bits_f32", DataType::kF32, {5, 17}, {{"axis", int64_t{0}}, {"limit", int64_t{7}}});
  add("columns_f32", DataType::kF32, {19, 11}, {{"axis", int64_t{1}}, {"limit", int64_t{127}}});
  add("symmetric_f32", DataType::kF32, {127}, {{"limit", int64_t{127}}});
  add("scalar_f32", DataType::kF32, {}, {});
  add("empty_f32", DataType::kF32, {0, 3}, {});
  add("f64", DataType::kF64, {13, 3}, {{"axis", int64_t{1}}, {"limit", int64_t{127}}});
  return out;
}

OpSchema common(std::string name, int64_t variant) {
  OpSchema schema;
  schema.name = std::move(name);
  schema.variant = variant;
  schema.attributes = {{"axis", AttributeKind::kInt, "a range a slice of this axis; absent: one for all of x"},
                       {"limit", AttributeKind::kInt,
                        "integers from -limit to limit around 0; 0, the default: -128 to 127 with a zero point"}};
  schema.cost = cost;
  schema.samples = samples;
  return schema;
}

OpSchema forward() {
  OpSchema schema = common("fake_quantize", 0);
  schema.doc =
      "y = s (min(max(round(x / s) + z, least), most) - z): x as the integer that it would become, and back. Scale s "
      "and zero point z are those that the quantizer chooses for values in [low, high]; zero is always kept. Its "
      "gradient goes straight through where x is on the grid, and is 0 where it is clamped; none goes to low and high. "
      "Floats only.";
  schema.inputs = {{"x", "any shape"},
                   {"low", "[] or, with an axis, [its size]: the least that x is to hold"},
                   {"high", "shape of low: the largest"}};
  schema.outputs = {{"y", "shape of x"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.explained_holes = {{"onnx", "made by compiling for training"}, {"sd3403", "training runs on the CPU"}};
  return schema;
}

OpSchema backward() {
  OpSchema schema = common("fake_quantize_gradient", 1);
  schema.doc = "dx = dy where round(x / s) + z lies on the grid of fake_quantize, else 0: its backward step.";
  schema.inputs = {{"dy", "shape of x: the gradient of y"},
                   {"x", "any shape"},
                   {"low", "as fake_quantize had it"},
                   {"high", "as fake_quantize had it"}};
  schema.outputs = {{"dx", "shape of x"}};
  schema.infer = infer_gradient;
  schema.reference = reference_gradient;
  schema.explained_holes = {{"onnx", "made by differentiation only"},
                            {"sd3403", "training runs on the CPU"},
                            {"gradient", "second derivatives are not built"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> fake_quantize_schemas();
std::span<const OpSchema> fake_quantize_schemas() {
  static const std::vector<OpSchema> schemas = {forward(), backward()};
  return schemas;
}

}  // namespace hai::ops

// max_pool_gradient: every window gives its gradient to its largest element, the first in rows and columns where
// several are equal, as PyTorch does.
//
// NaN elements are passed over, as max_pool passes over them. Made by differentiation (ops/gradient.h). Floats are
// summed in f64 and rounded once.
#include <cmath>

#include "ops/data_movement.h"
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  HAI_TRY(const PoolWindow window, pool_window_of(context.node));
  const Shape& x = input_type(context, 0).shape;
  const Rule<Shape> y = shape_rules::pool(x, window);
  if (!y) return make_error(StatusCode::kInvalidArgument, "O520", "{}", y.reason());
  if (*y != input_type(context, 1).shape) {
    return make_error(StatusCode::kInvalidArgument, "O521", "dy is {}, but the pool of {} gives {}",
                      to_string(input_type(context, 1).shape, context.symbols), to_string(x, context.symbols),
                      to_string(*y, context.symbols));
  }
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, x, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const std::vector<double> x = load_all_f64(context.inputs[0]);
  const Dims& in = context.inputs[0].dims;
  HAI_TRY(const PoolWindow window, pool_window_of(context.node));
  std::vector<double> sums(x.size(), 0.0);
  int64_t next = 0;
  for_each_index(context.inputs[1].dims, [&](const Index& out) {
    const double gradient = load_f64(context.inputs[1], next++);
    int64_t best = -1;
    for (int64_t i = 0; i < window.kernel[0]; ++i) {
      for (int64_t j = 0; j < window.kernel[1]; ++j) {
        const int64_t row = out[1] * window.strides[0] - window.pads[0] + i * window.dilations[0];
        const int64_t column = out[2] * window.strides[1] - window.pads[1] + j * window.dilations[1];
        if (row < 0 || row >= in[1] || column < 0 || column >= in[2]) continue;
        const int64_t at = ((out[0] * in[1] + row) * in[2] + column) * in[3] + out[3];
        if (std::isnan(x[static_cast<size_t>(at)])) continue;
        if (best < 0 || x[static_cast<size_t>(at)] > x[static_cast<size_t>(best)]) best = at;
      }
    }
    if (best >= 0) sums[static_cast<size_t>(best)] += gradient;
  });
  store_all_f64(context.outputs[0], sums);
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  const auto kernel = context.node.ints_attribute("kernel", {1, 1});
  return {0, 2 * context.inputs[1].count() * kernel[0] * kernel[1]};
}

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  const ir::Attributes three = {{"kernel", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}};
  const ir::Attributes same_5 = {{"kernel", Ints{5, 5}}, {"pads", Ints{2, 2, 2, 2}}};
  const ir::Attributes two = {{"kernel", Ints{2, 2}}, {"strides", Ints{2, 2}}};
  const ir::Attributes ceil = {
      {"kernel", Ints{3, 2}}, {"strides", Ints{2, 3}}, {"pads", Ints{1, 0, 0, 1}}, {"ceil_mode", int64_t{1}}};
  const ir::Attributes dilated = {
      {"kernel", Ints{2, 3}}, {"pads", Ints{1, 2, 1, 2}}, {"dilations", Ints{3, 2}}, {"strides", Ints{1, 2}}};
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, const Shape& x, const Shape& y, const ir::Attributes& window) {
    out.push_back(make_sample(name, {sample_input(dtype, x), sample_input(dtype, y)}, window));
    out.back().tolerance = dtype == DataType::kF64 ? 1e-14 : 1e-6;
  };
  add("3x3_stride2", DataType::kF32, {1, 19, 13, 64}, {1, 10, 7, 64}, three);
  add("same_5x5", DataType::kF32, {2, 13, 13, 35}, {2, 13, 13, 35}, same_5);
  add("ceil_uneven", DataType::kF32, {1, 13, 19, 7}, {1, 7, 7, 7}, ceil);
  add("dilated", DataType::kF32, {1, 13, 19, 3}, {1, 12, 10, 3}, dilated);
  add("many_channels", DataType::kF32, {3, 7, 5, 150}, {3, 4, 3, 150}, three);
  add("f64", DataType::kF64, {1, 8, 6, 3}, {1, 4, 3, 3}, two);
  // All elements are equal.
  add("ties", DataType::kF32, {2, 9, 9, 19}, {2, 5, 5, 19}, three);
  out.back().inputs[0].low = out.back().inputs[0].high = 0.5;
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "max_pool_gradient";
  schema.doc =
      "dx of max_pool with the same attributes: every window gives dy to its largest element, to the first in rows and "
      "columns where several are equal. Floats only.";
  schema.inputs = {{"x", "[N, H, W, C]: max_pool's x"}, {"dy", "[N, OH, OW, C]: the gradient of its y"}};
  schema.outputs = {{"dx", "[N, H, W, C]"}};
  schema.attributes = {{"kernel", AttributeKind::kInts, "height and width of the window", true},
                       {"strides", AttributeKind::kInts, "steps of the window, default [1, 1]"},
                       {"pads", AttributeKind::kInts, "top, left, bottom, right; default 0"},
                       {"dilations", AttributeKind::kInts, "distance of neighbouring taps, default [1, 1]"},
                       {"ceil_mode", AttributeKind::kInt, "1: round the output size up; default 0"}};
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

std::span<const OpSchema> max_pool_gradient_schemas();
std::span<const OpSchema> max_pool_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

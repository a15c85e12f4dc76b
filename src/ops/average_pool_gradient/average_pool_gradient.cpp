// average_pool_gradient: every window gives its gradient, over its divisor, to the elements under it; padding and what
// ceil_mode lets reach beyond take theirs with them.
//
// The size of x is an attribute: with strides several sizes give the same dy. Made by differentiation (ops/gradient.h).
// Floats are summed in f64 and rounded once.
#include "ops/data_movement.h"
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 4, 4));
  HAI_TRY(const PoolWindow window, pool_window_of(context.node));
  HAI_TRY(const auto size, bounded_ints(context.node, "size", {1, 1}, 1, INT32_MAX));
  const Shape& dy = input_type(context, 0).shape;
  const Shape x = {dy[0], size[0], size[1], dy[3]};
  const Rule<Shape> y = shape_rules::pool(x, window);
  if (!y) return make_error(StatusCode::kInvalidArgument, "O522", "{}", y.reason());
  if (*y != dy) {
    return make_error(StatusCode::kInvalidArgument, "O523", "dy is {}, but the pool of {} gives {}",
                      to_string(dy, context.symbols), to_string(x, context.symbols), to_string(*y, context.symbols));
  }
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, x, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const Dims& in = context.outputs[0].dims;
  HAI_TRY(const PoolWindow window, pool_window_of(context.node));
  std::vector<double> sums(static_cast<size_t>(in.count()), 0.0);
  int64_t next = 0;
  for_each_index(context.inputs[0].dims, [&](const Index& out) {
    const int64_t divisor = pool_divisor(window, 0, in[1], out[1]) * pool_divisor(window, 1, in[2], out[2]);
    const double share = load_f64(context.inputs[0], next++) / static_cast<double>(divisor);
    for (int64_t i = 0; i < window.kernel[0]; ++i) {
      for (int64_t j = 0; j < window.kernel[1]; ++j) {
        const int64_t row = out[1] * window.strides[0] - window.pads[0] + i;
        const int64_t column = out[2] * window.strides[1] - window.pads[1] + j;
        if (row < 0 || row >= in[1] || column < 0 || column >= in[2]) continue;
        sums[static_cast<size_t>(((out[0] * in[1] + row) * in[2] + column) * in[3] + out[3])] += share;
      }
    }
  });
  store_all_f64(context.outputs[0], sums);
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  const auto kernel = context.node.ints_attribute("kernel", {1, 1});
  return {0, context.inputs[0].count() * kernel[0] * kernel[1]};
}

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  const ir::Attributes three = {{"kernel", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}};
  const ir::Attributes two = {{"kernel", Ints{2, 2}}, {"strides", Ints{2, 2}}};
  const ir::Attributes ceil = {
      {"kernel", Ints{3, 2}}, {"strides", Ints{2, 3}}, {"pads", Ints{1, 0, 0, 1}}, {"ceil_mode", int64_t{1}}};
  ir::Attributes with_padding = three;
  with_padding["ceil_mode"] = int64_t{1};
  with_padding["count_include_pad"] = int64_t{1};
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, Shape y, Ints size, ir::Attributes window) {
    window["size"] = std::move(size);
    out.push_back(make_sample(name, {sample_input(dtype, std::move(y))}, std::move(window)));
    out.back().tolerance = dtype == DataType::kF64 ? 1e-14 : 1e-6;
  };
  add("3x3_stride2", DataType::kF32, {1, 10, 7, 64}, {19, 13}, three);
  add("count_include_pad", DataType::kF32, {2, 8, 7, 35}, {14, 13}, with_padding);
  add("ceil_uneven", DataType::kF32, {1, 7, 7, 7}, {13, 19}, ceil);
  add("whole_picture", DataType::kF32, {2, 1, 1, 127}, {13, 19}, {{"kernel", Ints{13, 19}}});
  add("f64", DataType::kF64, {1, 3, 2, 3}, {7, 5}, two);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "average_pool_gradient";
  schema.doc =
      "dx of average_pool with the same attributes: every element under a window gets dy over the window's divisor. "
      "Floats only.";
  schema.inputs = {{"dy", "[N, OH, OW, C]: the gradient of average_pool's y"}};
  schema.outputs = {{"dx", "[N, H, W, C]"}};
  schema.attributes = {{"size", AttributeKind::kInts, "height and width of x", true},
                       {"kernel", AttributeKind::kInts, "height and width of the window", true},
                       {"strides", AttributeKind::kInts, "steps of the window, default [1, 1]"},
                       {"pads", AttributeKind::kInts, "top, left, bottom, right; default 0"},
                       {"ceil_mode", AttributeKind::kInt, "1: round the output size up; default 0"},
                       {"count_include_pad", AttributeKind::kInt, "1: padding counts in the divisor; default 0"}};
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

std::span<const OpSchema> average_pool_gradient_schemas();
std::span<const OpSchema> average_pool_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

// conv2d_input_gradient: dx of y = conv2d(x, weights), from dy and the weights: every output pixel gives its gradient
// to the pixels its window saw.
//
// The weights lie as conv2d has them (OHWI), so nothing is transposed before. x's height and width are an attribute:
// with strides several sizes give the same dy. Made by differentiation (ops/gradient.h). Floats are summed in f64.
#include "ops/conv2d/conv2d.h"
#include "ops/inference.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 4, 4));
  HAI_TRY_STATUS(require_rank(schema, context, 1, 4, 4));
  HAI_TRY(const ConvAttributes attributes, read_conv_attributes(context.node));
  HAI_TRY(const auto size, bounded_ints(context.node, "size", {1, 1}, 1, INT32_MAX));
  const Shape& dy = input_type(context, 0).shape;
  const Shape& w = input_type(context, 1).shape;
  if (w[3].is_symbolic()) {
    return make_error(StatusCode::kInvalidArgument, "O515",
                      "attribute \"size\" must be x's height and width, and weights {} numbers",
                      to_string(w, context.symbols));
  }
  const Shape x = {dy[0], size[0], size[1], w[3].value * attributes.groups};
  HAI_TRY(const Shape expected, conv_output_shape(x, w, attributes, context.symbols));
  if (dy != expected) {
    return make_error(StatusCode::kInvalidArgument, "O516", "dy is {}, but conv2d of {} with weights {} gives {}",
                      to_string(dy, context.symbols), to_string(x, context.symbols), to_string(w, context.symbols),
                      to_string(expected, context.symbols));
  }
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, x, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  HAI_TRY(const ConvAttributes a, read_conv_attributes(context.node));
  const std::vector<double> dy = load_all_f64(context.inputs[0]);
  const std::vector<double> weights = load_all_f64(context.inputs[1]);
  const Dims& w = context.inputs[1].dims;
  const Dims& x = context.outputs[0].dims;
  std::vector<double> sums(static_cast<size_t>(x.count()), 0.0);
  for_each_window_place(context.inputs[0].dims, x, w, a, [&](int64_t pixel, int64_t to, int64_t from) {
    for (int64_t c = 0; c < w[3]; ++c)
      sums[static_cast<size_t>(to + c)] += dy[static_cast<size_t>(pixel)] * weights[static_cast<size_t>(from + c)];
  });
  store_all_f64(context.outputs[0], sums);
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  const Dims& w = context.inputs[1];
  return {context.inputs[0].count() * w[1] * w[2] * w[3], 0};
}

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const ConvSampleGeometry& g, const char* suffix, DataType dtype) {
    Sample sample;
    sample.name = std::string(g.name) + suffix;
    SampleInput dy;
    dy.type = {dtype, {g.n, g.out_rows(), g.out_cols(), g.o}, std::nullopt};
    SampleInput weights;
    weights.type = {dtype, {g.o, g.kh, g.kw, g.c / g.groups}, std::nullopt};
    sample.inputs = {dy, weights};
    sample.attributes = g.attributes();
    sample.attributes["size"] = std::vector<int64_t>{g.h, g.w};
    sample.tolerance = dtype == DataType::kF64 ? 1e-14 : 1e-5;  // f32: sums of a thousand terms
    out.push_back(std::move(sample));
  };
  for (const ConvSampleGeometry& g : conv_sample_geometries()) add(g, "_f32", DataType::kF32);
  add(conv_sample_geometries().front(), "_f64", DataType::kF64);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "conv2d_input_gradient";
  schema.doc =
      "dx[n, i s - p + ky d, j s - p + kx d, c] += dy[n, i, j, o] weights[o, ky, kx, c]: the gradient of x of a conv2d "
      "with the same attributes. Floats only.";
  schema.inputs = {{"dy", "[N, OH, OW, O]: the gradient of conv2d's y"}, {"weights", "[O, KH, KW, C / groups]"}};
  schema.outputs = {{"dx", "[N, H, W, C]"}};
  schema.attributes = {{"size", AttributeKind::kInts, "x's height and width", true},
                       {"strides", AttributeKind::kInts, "[rows, columns], default [1, 1]"},
                       {"pads", AttributeKind::kInts, "[top, left, bottom, right], default 0"},
                       {"dilations", AttributeKind::kInts, "[rows, columns], default [1, 1]"},
                       {"groups", AttributeKind::kInt, "default 1"}};
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

std::span<const OpSchema> conv2d_input_gradient_schemas();
std::span<const OpSchema> conv2d_input_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

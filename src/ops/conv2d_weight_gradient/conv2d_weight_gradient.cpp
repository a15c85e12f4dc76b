// conv2d_weight_gradient: dweights of y = conv2d(x, weights), from x and dy: sums over all images and output pixels, a
// free batch among them.
//
// The kernel's height and width are an attribute: with strides and pads several sizes give the same dy. Made by
// differentiation (ops/gradient.h). Floats are summed in f64 and rounded once.
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
  HAI_TRY(const auto kernel, bounded_ints(context.node, "kernel", {1, 1}, 1, 1 << 20));
  const Shape& x = input_type(context, 0).shape;
  const Shape& dy = input_type(context, 1).shape;
  if (x[3].is_symbolic() || dy[3].is_symbolic() || x[3].value % attributes.groups != 0) {
    return make_error(StatusCode::kInvalidArgument, "O517",
                      "attribute \"kernel\" must be the weights' height and width, and the channels of x {} and dy {} "
                      "multiples of {} groups",
                      to_string(x, context.symbols), to_string(dy, context.symbols), attributes.groups);
  }
  const Shape w = {dy[3], kernel[0], kernel[1], x[3].value / attributes.groups};
  HAI_TRY(const Shape expected, conv_output_shape(x, w, attributes, context.symbols));
  if (dy != expected) {
    return make_error(StatusCode::kInvalidArgument, "O518", "dy is {}, but conv2d of x {} with weights {} gives {}",
                      to_string(dy, context.symbols), to_string(x, context.symbols), to_string(w, context.symbols),
                      to_string(expected, context.symbols));
  }
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, w, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  HAI_TRY(const ConvAttributes a, read_conv_attributes(context.node));
  const std::vector<double> input = load_all_f64(context.inputs[0]);
  const std::vector<double> dy = load_all_f64(context.inputs[1]);
  const Dims& x = context.inputs[0].dims;
  const Dims& w = context.outputs[0].dims;
  std::vector<double> sums(static_cast<size_t>(w.count()), 0.0);
  for_each_window_place(context.inputs[1].dims, x, w, a, [&](int64_t pixel, int64_t from, int64_t to) {
    for (int64_t c = 0; c < w[3]; ++c)
      sums[static_cast<size_t>(to + c)] += dy[static_cast<size_t>(pixel)] * input[static_cast<size_t>(from + c)];
  });
  store_all_f64(context.outputs[0], sums);
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  const Dims& w = context.outputs[0];
  return {context.inputs[1].count() * w[1] * w[2] * w[3], 0};
}

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const ConvSampleGeometry& g, const char* suffix, DataType dtype) {
    Sample sample;
    sample.name = std::string(g.name) + suffix;
    SampleInput x;
    x.type = {dtype, {g.n, g.h, g.w, g.c}, std::nullopt};
    SampleInput dy;
    dy.type = {dtype, {g.n, g.out_rows(), g.out_cols(), g.o}, std::nullopt};
    sample.inputs = {x, dy};
    sample.attributes = g.attributes();
    sample.attributes["kernel"] = std::vector<int64_t>{g.kh, g.kw};
    sample.tolerance = dtype == DataType::kF64 ? 1e-14 : 1e-5;  // f32: sums of a few thousand terms
    out.push_back(std::move(sample));
  };
  for (const ConvSampleGeometry& g : conv_sample_geometries()) add(g, "_f32", DataType::kF32);
  add({"1x1_many_columns", 2, 5, 7, 300, 130, 1, 1}, "_f32", DataType::kF32);
  add({"depthwise_many_rows", 3, 40, 9, 37, 37, 3, 3, 1, {1, 1, 1, 1}, {1, 1}, 37}, "_f32", DataType::kF32);
  // Images so wide and deep that a kernel may copy them row by row, more of them than a block or a slice has.
  add({"3x3_wide", 2, 19, 21, 13, 17, 3, 3, 1, {1, 1, 1, 1}}, "_f32", DataType::kF32);
  add({"3x3_wide_stride2_dilated", 2, 9, 38, 35, 5, 3, 3, 2, {2, 1, 1, 2}, {2, 1}}, "_f32", DataType::kF32);
  add({"2x3_wide_apart", 1, 40, 37, 33, 3, 2, 3, 1, {0, 3, 0, 2}, {1, 2}}, "_f32", DataType::kF32);
  add(conv_sample_geometries().front(), "_f64", DataType::kF64);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "conv2d_weight_gradient";
  schema.doc =
      "dweights[o, ky, kx, c] = sum over (n, i, j) of dy[n, i, j, o] x[n, i s - p + ky d, j s - p + kx d, c]: the "
      "gradient of the weights of a conv2d with the same attributes. Floats only.";
  schema.inputs = {{"x", "[N, H, W, C]"}, {"dy", "[N, OH, OW, O]: the gradient of conv2d's y"}};
  schema.outputs = {{"dweights", "[O, KH, KW, C / groups]"}};
  schema.attributes = {{"kernel", AttributeKind::kInts, "height and width of the weights", true},
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

std::span<const OpSchema> conv2d_weight_gradient_schemas();
std::span<const OpSchema> conv2d_weight_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

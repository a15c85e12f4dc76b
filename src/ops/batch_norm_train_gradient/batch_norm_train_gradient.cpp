// batch_norm_train_gradient: dx, dscale and dbias of batch_norm_train, whose statistics depend on x.
//
// With g = dy where the activation let y through, r = 1 / sqrt(variance + epsilon) and n = (x - mean) r: dbias = sum g,
// dscale = sum g n, dx = scale r (g - dbias / N - n dscale / N). Made by differentiation (ops/gradient.h). Floats are
// computed in f64 and rounded once.
#include <algorithm>
#include <cmath>

#include "ops/inference.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 2, kMaxRank));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  const ir::TensorType& x = input_type(context, 0);
  for (size_t i = 2; i <= 5; ++i) {
    HAI_TRY_STATUS(require_same_dtype(schema, context, i, 0));
    HAI_TRY_STATUS(require_vector(schema, context, i, x.shape.back()));
  }
  HAI_TRY_STATUS(word_attribute(context.node, "activation", "none", {"none", "relu", "relu6"}));
  const double epsilon = context.node.float_attribute("epsilon", 1e-5);
  if (!(epsilon >= 0.0) || x.shape.back().is_symbolic() || input_type(context, 1).shape != x.shape) {
    return make_error(StatusCode::kInvalidArgument, "O526",
                      "epsilon {} must not be negative, the channels of x {} be a number, and dy {} have x's shape",
                      epsilon, to_string(x.shape, context.symbols),
                      to_string(input_type(context, 1).shape, context.symbols));
  }
  const ir::TensorType channel{x.dtype, {x.shape.back()}, std::nullopt};
  return std::vector<ir::TensorType>{{x.dtype, x.shape, std::nullopt}, channel, channel};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const std::vector<double> x = load_all_f64(context.inputs[0]);
  const std::vector<double> dy = load_all_f64(context.inputs[1]);
  const auto channels = static_cast<size_t>(context.outputs[1].dims[0]);
  const double epsilon = context.node.float_attribute("epsilon", 1e-5);
  const std::string activation = context.node.string_attribute("activation", "none");
  const size_t rows = channels == 0 ? 0 : x.size() / channels;
  const auto count = static_cast<double>(std::max<size_t>(rows, 1));
  for (size_t c = 0; c < channels; ++c) {
    const auto channel = static_cast<int64_t>(c);
    const double scale = load_f64(context.inputs[2], channel);
    const double bias = load_f64(context.inputs[3], channel);
    const double mean = load_f64(context.inputs[4], channel);
    const double inverse = 1.0 / std::sqrt(load_f64(context.inputs[5], channel) + epsilon);
    const auto normal = [&](size_t r) { return (x[r * channels + c] - mean) * inverse; };
    const auto gradient = [&](size_t r) {
      const double v = normal(r) * scale + bias;
      const bool passes = activation == "none" || (v > 0.0 && (activation == "relu" || v < 6.0));
      return passes ? dy[r * channels + c] : 0.0;
    };
    double sum = 0.0;
    double product = 0.0;
    for (size_t r = 0; r < rows; ++r) {
      sum += gradient(r);
      product += gradient(r) * normal(r);
    }
    for (size_t r = 0; r < rows; ++r) {
      store_f64(context.outputs[0], static_cast<int64_t>(r * channels + c),
                scale * inverse * (gradient(r) - sum / count - normal(r) * product / count));
    }
    store_f64(context.outputs[1], channel, product);
    store_f64(context.outputs[2], channel, sum);
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 8 * context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, const Shape& shape, const char* activation) {
    Sample sample;
    sample.name = name;
    const auto vector = [&](double low, double high) {
      SampleInput input;
      input.type = {dtype, {shape.back()}, std::nullopt};
      input.low = low;
      input.high = high;
      return input;
    };
    SampleInput x;
    x.type = {dtype, shape, std::nullopt};
    x.low = -1.0;
    x.high = 3.0;
    SampleInput dy;
    dy.type = x.type;
    sample.inputs = {x, dy, vector(0.5, 2.0), vector(1.5, 2.0), vector(0.5, 1.5), vector(0.5, 1.5)};
    sample.attributes["epsilon"] = 1e-3;
    if (std::string_view(activation) != "none") sample.attributes["activation"] = std::string(activation);
    sample.tolerance = dtype == DataType::kF64 ? 1e-13 : 1e-5;  // f32: sums of a block in f32
    out.push_back(std::move(sample));
  };
  add("odd_f32", DataType::kF32, {2, 13, 19, 7}, "none");
  add("matrix_f32", DataType::kF32, {13, 127}, "none");
  add("one_channel_f32", DataType::kF32, {3, 19, 1}, "none");
  add("many_channels_f32", DataType::kF32, {2, 7, 5, 300}, "none");
  add("large_f32", DataType::kF32, {1, 127, 113, 19}, "none");
  add("few_rows_f32", DataType::kF32, {3, 5}, "none");
  add("f64", DataType::kF64, {5, 3, 4}, "relu6");
  // Elements near a kink would fall on either side: here none is, since v is in [0.1, 5.9].
  add("relu_f32", DataType::kF32, {2, 13, 7, 16}, "relu");
  out.back().inputs[0].low = 0.2;
  out.back().inputs[0].high = 1.8;
  add("relu6_f32", DataType::kF32, {2, 13, 7, 16}, "relu6");
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "batch_norm_train_gradient";
  schema.doc =
      "Gradients of batch_norm_train with the same attributes. With g = dy where the activation let y through, "
      "r = 1 / sqrt(variance + epsilon) and n = (x - mean) r: dbias = sum g, dscale = sum g n, "
      "dx = scale r (g - dbias / N - n dscale / N). Floats only.";
  schema.inputs = {{"x", "rank 2 or more, channels last"},
                   {"dy", "shape of x: the gradient of y"},
                   {"scale", "[C]"},
                   {"bias", "[C]"},
                   {"mean", "[C], of the batch"},
                   {"variance", "[C], of the batch, biased"}};
  schema.outputs = {{"dx", "shape of x"}, {"dscale", "[C]"}, {"dbias", "[C]"}};
  schema.attributes = {{"epsilon", AttributeKind::kFloat, "added to the variance; default 1e-5"},
                       {"activation", AttributeKind::kString, "none (default), relu or relu6"}};
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

std::span<const OpSchema> batch_norm_train_gradient_schemas();
std::span<const OpSchema> batch_norm_train_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

// batch_norm_train: batch normalisation with the statistics of the batch at hand, as it is trained.
//
// mean and variance of each channel (the last axis) over all other axes, a free batch among them; y is normalised with
// the biased variance, the running statistics move towards the batch's with the unbiased one, as PyTorch's do. It is an
// operator of its own, beside batch_norm, so that no pass folds it into weights. Floats are computed in f64.
#include <algorithm>
#include <cmath>

#include "ops/inference.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 2, kMaxRank));
  const ir::TensorType& x = input_type(context, 0);
  for (size_t i = 1; i <= 4; ++i) {
    HAI_TRY_STATUS(require_same_dtype(schema, context, i, 0));
    HAI_TRY_STATUS(require_vector(schema, context, i, x.shape.back()));
  }
  HAI_TRY_STATUS(word_attribute(context.node, "activation", "none", {"none", "relu", "relu6"}));
  const double epsilon = context.node.float_attribute("epsilon", 1e-5);
  const double momentum = context.node.float_attribute("momentum", 0.1);
  if (!(epsilon >= 0.0) || !(momentum >= 0.0 && momentum <= 1.0) || x.shape.back().is_symbolic()) {
    return make_error(StatusCode::kOutOfRange, "O525",
                      "epsilon {} must not be negative, momentum {} be in [0, 1], and the channels of {} a number",
                      epsilon, momentum, to_string(x.shape, context.symbols));
  }
  const ir::TensorType statistics{x.dtype, {x.shape.back()}, std::nullopt};
  return std::vector<ir::TensorType>{moved_output(context, 0, x.shape), statistics, statistics, statistics, statistics};
}

double activated(double v, const std::string& activation) {
  if (activation == "none") return v;
  return std::clamp(v, 0.0, activation == "relu6" ? 6.0 : INFINITY);
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const std::vector<double> x = load_all_f64(context.inputs[0]);
  const auto channels = static_cast<size_t>(context.outputs[1].dims[0]);
  const double epsilon = context.node.float_attribute("epsilon", 1e-5);
  const double momentum = context.node.float_attribute("momentum", 0.1);
  const std::string activation = context.node.string_attribute("activation", "none");
  const size_t rows = channels == 0 ? 0 : x.size() / channels;
  const auto count = static_cast<double>(std::max<size_t>(rows, 1));
  for (size_t c = 0; c < channels; ++c) {
    const auto channel = static_cast<int64_t>(c);
    double mean = 0.0;
    double variance = 0.0;
    for (size_t r = 0; r < rows; ++r) mean += x[r * channels + c];
    mean /= count;
    for (size_t r = 0; r < rows; ++r) variance += (x[r * channels + c] - mean) * (x[r * channels + c] - mean);
    variance /= count;
    const double gain = load_f64(context.inputs[1], channel) / std::sqrt(variance + epsilon);
    for (size_t r = 0; r < rows; ++r) {
      const double v = (x[r * channels + c] - mean) * gain + load_f64(context.inputs[2], channel);
      store_f64(context.outputs[0], static_cast<int64_t>(r * channels + c), activated(v, activation));
    }
    store_f64(context.outputs[1], channel, mean);
    store_f64(context.outputs[2], channel, variance);
    const double unbiased = variance * count / std::max(count - 1.0, 1.0);
    store_f64(context.outputs[3], channel, (1.0 - momentum) * load_f64(context.inputs[3], channel) + momentum * mean);
    store_f64(context.outputs[4], channel,
              (1.0 - momentum) * load_f64(context.inputs[4], channel) + momentum * unbiased);
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 5 * context.outputs[0].count()}; }

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
    sample.inputs = {x, vector(0.5, 2.0), vector(-1.0, 1.0), vector(-1.0, 1.0), vector(0.1, 2.0)};
    sample.attributes["epsilon"] = 1e-3;
    sample.attributes["momentum"] = 0.25;
    if (std::string_view(activation) != "none") sample.attributes["activation"] = std::string(activation);
    // f32: x * factor + offset, both rounded, of sums of a block in f32.
    sample.tolerance = dtype == DataType::kF64 ? 1e-13 : 4e-6;
    out.push_back(std::move(sample));
  };
  add("odd_f32", DataType::kF32, {2, 13, 19, 7}, "none");
  add("matrix_f32", DataType::kF32, {13, 127}, "none");
  add("one_channel_f32", DataType::kF32, {3, 19, 1}, "relu");
  add("many_channels_f32", DataType::kF32, {2, 7, 5, 300}, "relu6");
  add("large_f32", DataType::kF32, {1, 127, 113, 19}, "relu6");
  add("few_rows_f32", DataType::kF32, {3, 5}, "none");
  add("relu_f32", DataType::kF32, {2, 13, 7, 16}, "relu");
  add("f64", DataType::kF64, {5, 3, 4}, "relu6");
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "batch_norm_train";
  schema.doc =
      "y = f((x - mean) / sqrt(variance + epsilon) scale + bias), with f the activation, mean and (biased) variance of "
      "x over all axes but the last. The running statistics become (1 - momentum) running + momentum batch, of the "
      "unbiased variance. It is batch_norm as it is trained, and never folded into weights. Floats only.";
  schema.inputs = {{"x", "rank 2 or more, channels last"},
                   {"scale", "[C]"},
                   {"bias", "[C]"},
                   {"running_mean", "[C]"},
                   {"running_variance", "[C]"}};
  schema.outputs = {{"y", "type of x"},
                    {"mean", "[C], of the batch"},
                    {"variance", "[C], of the batch, biased"},
                    {"new_running_mean", "[C]"},
                    {"new_running_variance", "[C]"}};
  schema.attributes = {{"epsilon", AttributeKind::kFloat, "added to the variance; default 1e-5"},
                       {"momentum", AttributeKind::kFloat, "share of the batch in the new running statistics; 0.1"},
                       {"activation", AttributeKind::kString, "none (default), relu or relu6"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made for training only, from batch_norm"},
                            {"sd3403", "training runs on the CPU"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> batch_norm_train_schemas();
std::span<const OpSchema> batch_norm_train_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

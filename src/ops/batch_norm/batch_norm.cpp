// batch_norm with fixed statistics: y = (x - mean) / sqrt(variance + epsilon) * scale + bias, channel = last axis.
//
// Floats only, in f64, rounded once. Quantized graphs never hold one: passes fold it into the weights before.
#include "ops/inference.h"
#include "ops/reference.h"

#include <cmath>

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 1, kMaxRank));
  const ir::TensorType& x = input_type(context, 0);
  for (size_t i = 1; i <= 4; ++i) {
    HAI_TRY_STATUS(require_same_dtype(schema, context, i, 0));
    HAI_TRY_STATUS(require_vector(schema, context, i, x.shape.back()));
  }
  const double epsilon = context.node.float_attribute("epsilon", 1e-5);
  if (!(epsilon >= 0.0)) {
    return make_error(StatusCode::kOutOfRange, "O217", "epsilon {} must not be negative", epsilon);
  }
  return std::vector<ir::TensorType>{moved_output(context, 0, x.shape)};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const double epsilon = context.node.float_attribute("epsilon", 1e-5);
  const int64_t channels = x.dims[x.dims.rank - 1];
  for (int64_t i = 0; i < x.count(); ++i) {
    const int64_t c = i % channels;
    const double deviation = std::sqrt(load_f64(context.inputs[4], c) + epsilon);
    const double normal = (load_f64(x, i) - load_f64(context.inputs[3], c)) / deviation;
    store_f64(context.outputs[0], i, normal * load_f64(context.inputs[1], c) + load_f64(context.inputs[2], c));
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, 2 * context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape) {
    Sample sample;
    sample.name = std::move(name);
    const Dim channels = shape.back();
    const auto parameter = [&](double low, double high) {
      SampleInput input;
      input.type = {dtype, {channels}, std::nullopt};
      input.constant = true;
      input.low = low;
      input.high = high;
      return input;
    };
    SampleInput x;
    x.type = {dtype, std::move(shape), std::nullopt};
    sample.inputs = {x, parameter(0.5, 2.0), parameter(-1.0, 1.0), parameter(-1.0, 1.0), parameter(0.1, 2.0)};
    sample.attributes["epsilon"] = 1e-3;
    // x * factor + offset, both rounded to f32, against the exact formula: cancellation of mean against x.
    sample.tolerance = dtype == DataType::kF16 ? 2e-3 : 2e-6;
    out.push_back(std::move(sample));
  };
  add("odd_f32", DataType::kF32, {1, 13, 19, 7});
  add("matrix_f32", DataType::kF32, {13, 127});
  add("one_channel_f32", DataType::kF32, {3, 19, 1});
  add("large_f32", DataType::kF32, {1, 127, 113, 19});
  add("f16", DataType::kF16, {13, 5});
  return out;
}

}  // namespace

std::span<const OpSchema> batch_norm_schemas();
std::span<const OpSchema> batch_norm_schemas() {
  static const std::vector<OpSchema> schemas = [] {
    OpSchema schema;
    schema.name = "batch_norm";
    schema.doc =
        "y = (x - mean) / sqrt(variance + epsilon) scale + bias, with given statistics; the channel is the last axis. "
        "Floats only.";
    schema.inputs = {{"x", "rank 1 or more, channels last"},
                     {"scale", "[C]"},
                     {"bias", "[C]"},
                     {"mean", "[C]"},
                     {"variance", "[C], not negative"}};
    schema.outputs = {{"y", "type of x"}};
    schema.attributes = {{"epsilon", AttributeKind::kFloat, "added to the variance; default 1e-5"}};
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    schema.onnx_names = {"BatchNormalization"};
    schema.explained_holes = {{"sd3403", "floats only; passes fold it into convolutions"}};
    return std::vector<OpSchema>{schema};
  }();
  return schemas;
}

}  // namespace hai::ops

// layer_norm over the last axis, then a scale and a bias a channel.
//
// Floats: mean and variance of differences in f64, rounded once. Integers: exact sums, then a fixed order of f64 and
// f32 operations (docs/reference/arithmetic.md, "Layer normalization"); scale and bias stay f32. Normalizations over
// more axes are reshaped or decomposed by importers.
#include <fmt/format.h>

#include <cmath>

#include "ops/inference.h"
#include "ops/reference.h"
#include "types/exact_math.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantizedTypes));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 1, kMaxRank));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, false));
  const ir::TensorType& x = input_type(context, 0);
  const Dim channels = x.shape.back();
  if (channels.is_symbolic() || channels.value < 1 || (is_integer(x.dtype) && channels.value > HAI_LAYER_NORM_MAX)) {
    return make_error(StatusCode::kInvalidArgument, "O620",
                      "x is {}: its last axis must have a fixed length of at least 1, and at most {} for integers",
                      to_string(x.shape, context.symbols), HAI_LAYER_NORM_MAX);
  }
  const double epsilon = context.node.float_attribute("epsilon", 1e-5);
  if (!(epsilon >= 0.0) || !std::isfinite(epsilon)) {
    return make_error(StatusCode::kInvalidArgument, "O621", "epsilon is {}: it must be a number, at least 0", epsilon);
  }
  for (size_t operand = 1; operand < 3; ++operand) {
    if (!has_input(context, operand)) continue;
    HAI_TRY_STATUS(require_vector(schema, context, operand, channels));
    if (is_float(x.dtype)) {
      HAI_TRY_STATUS(require_same_dtype(schema, context, operand, 0));
    } else {
      HAI_TRY_STATUS(require_dtype(schema, context, operand, set_of({DataType::kF32})));
    }
  }
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, x.shape, 0, kQuantizedTypes));
  return std::vector<ir::TensorType>{std::move(y)};
}

// One row of `n` elements from `first`.
struct Row {
  int64_t first;
  int64_t n;
};

void float_row(const ReferenceContext& context, const Row& row, double epsilon) {
  const TensorView& x = context.inputs[0];
  const auto n = static_cast<double>(row.n);
  double sum = 0.0;
  for (int64_t i = 0; i < row.n; ++i) sum += load_f64(x, row.first + i);
  const double mean = sum / n;
  double squares = 0.0;
  for (int64_t i = 0; i < row.n; ++i) {
    const double distance = load_f64(x, row.first + i) - mean;
    squares += distance * distance;
  }
  const double deviation = hai_sqrt(squares / n + epsilon);
  const bool has_bias = context.inputs.size() > 2 && context.inputs[2].data != nullptr;
  for (int64_t i = 0; i < row.n; ++i) {
    const double unit = (load_f64(x, row.first + i) - mean) / deviation;
    const double scaled = unit * load_f64(context.inputs[1], i);
    store_f64(context.outputs[0], row.first + i, has_bias ? scaled + load_f64(context.inputs[2], i) : scaled);
  }
}

void integer_row(const ReferenceContext& context, const Row& row, double epsilon) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  int64_t sum = 0;
  int64_t squares = 0;
  for (int64_t i = 0; i < row.n; ++i) {
    const int64_t q = load_integer(x, row.first + i);
    sum += q;
    squares += q * q;
  }
  const float inverse = hai_layer_norm_inverse(hai_layer_norm_variance(row.n, sum, squares),
                                               hai_layer_norm_epsilon(epsilon, row.n, scale_of(x)));
  const auto parameter = [&](size_t operand, int64_t channel) {
    if (context.inputs.size() <= operand || context.inputs[operand].data == nullptr) return 0.0F;
    return hai_layer_norm_parameter(static_cast<float>(load_f64(context.inputs[operand], channel)), scale_of(y));
  };
  for (int64_t i = 0; i < row.n; ++i) {
    const auto distance = static_cast<float>(row.n * load_integer(x, row.first + i) - sum);
    store_integer(y, row.first + i,
                  hai_layer_norm_output(distance, inverse, parameter(1, i), parameter(2, i), output_range(y)));
  }
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const int64_t n = x.dims[x.dims.rank - 1];
  const double epsilon = context.node.float_attribute("epsilon", 1e-5);
  for (int64_t first = 0; first < x.count(); first += n) {
    if (is_float(x.dtype)) {
      float_row(context, {first, n}, epsilon);
    } else {
      integer_row(context, {first, n}, epsilon);
    }
  }
  return {};
}

// Sum, sum of squares, difference, two products and a sum: about six operations an element.
Cost cost(const OpSchema&, const CostContext& context) { return {0, 6 * context.outputs[0].count()}; }

struct SampleTypes {
  DataType x = DataType::kF32;
  DataType y = DataType::kF32;
};

Sample make_sample(const std::string& name, const SampleTypes& types, Shape shape, bool bias = true) {
  Sample sample;
  sample.name = name + "_" + std::string(data_type_name(types.x));
  if (types.y != types.x) sample.name += "_" + std::string(data_type_name(types.y));
  const DataType parameters = is_float(types.x) ? types.x : DataType::kF32;
  SampleInput x;
  x.type = {types.x, shape, std::nullopt};
  x.low = -3.0;
  x.high = 5.0;
  const auto quantization = [](DataType dtype, float scale, int32_t zero) {
    return per_tensor_quantization(dtype == DataType::kI16 ? scale / 256.0F : scale,
                                   dtype == DataType::kU8 ? 128 + zero : zero);
  };
  if (is_integer(types.x)) {
    x.type.quantization = quantization(types.x, 0.03F, -9);
    sample.outputs = {ir::TensorType{types.y, shape, quantization(types.y, 0.02F, 5)}};
  }
  SampleInput scale;
  scale.type = {parameters, {shape.back()}, std::nullopt};
  scale.constant = true;
  scale.low = -0.5;
  scale.high = 1.5;
  SampleInput offset = scale;
  offset.absent = !bias;
  sample.inputs = {std::move(x), std::move(scale), std::move(offset)};
  sample.tolerance = types.x == DataType::kF16 ? 1e-3 : 1e-5;
  return sample;
}

std::vector<Sample> samples(const OpSchema&) {
  constexpr DataType kIntegers[] = {DataType::kI8, DataType::kU8, DataType::kI16};
  std::vector<SampleTypes> pairs = {{}};
  for (const DataType x : kIntegers) {
    for (const DataType y : kIntegers) pairs.push_back({x, y});
  }
  std::vector<Sample> out;
  for (const SampleTypes& types : pairs) {
    out.push_back(make_sample("tokens", types, {2, 13, 192}));
    out.push_back(make_sample("odd", types, {3, 5, 127}));
    out.push_back(make_sample("no_bias", types, {7, 19}, false));
    if (types.x != types.y) continue;
    out.push_back(make_sample("one_channel", types, {5, 1}));
    out.push_back(make_sample("vector", types, {33}));
    // Rows without variance: epsilon alone is in the root.
    Sample flat = make_sample("flat_rows", types, {4, 35});
    flat.inputs[0].low = flat.inputs[0].high = 5.0;
    flat.inputs[0].integers_in_bounds = true;
    out.push_back(flat);
    flat.name += "_without_epsilon";  // 0 / 0: integers have an answer to that too
    flat.attributes["epsilon"] = 0.0;
    if (is_integer(types.x)) out.push_back(std::move(flat));
    Sample coarse = make_sample("large_epsilon", types, {13, 40});
    coarse.attributes["epsilon"] = 0.5;
    out.push_back(std::move(coarse));
    out.push_back(make_sample("longest", types, {2, HAI_LAYER_NORM_MAX}));
  }
  out.push_back(make_sample("odd", {DataType::kF16, DataType::kF16}, {3, 13}));
  out.push_back(make_sample("odd", {DataType::kF64, DataType::kF64}, {3, 13}));
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "layer_norm";
  schema.doc =
      "y = (x - mean) / sqrt(variance + epsilon) * scale + bias, with mean and variance (of n, not n - 1) of each row "
      "along the last axis. Integers sum exactly and round in one order (docs/reference/arithmetic.md, \"Layer "
      "normalization\").";
  schema.inputs = {{"x", "rank 1 or more; floats, or i8, u8 or i16 with one scale; at most 65536 channels of integers"},
                   {"scale", "[channels], x's float type, or f32"},
                   {"bias", "[channels], like scale", true}};
  schema.outputs = {{"y", "shape of x; a quantized x needs a declared i8, u8 or i16"}};
  schema.attributes = {{"epsilon", AttributeKind::kFloat, "added to the variance; default 1e-5"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"LayerNormalization"};
  return schema;
}

}  // namespace

std::span<const OpSchema> layer_norm_schemas();
std::span<const OpSchema> layer_norm_schemas() {
  static const OpSchema schema = make_schema();
  return {&schema, 1};
}

}  // namespace hai::ops

// max_pool: the largest element under a window, NHWC.
//
// Padding takes no part (it is not zero). NaN elements are passed over, as `x > best ? x : best` does. A window that a
// dilation lets straddle the whole input gives the least value of the type (-infinity for floats). Integers compare as
// stored; an output with another scale takes the rescaled largest, which is the largest of the rescaled, since
// rescaling is monotone.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

constexpr DataTypeSet kTypes = kAllTypes & ~set_of({DataType::kBool});

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kTypes));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, true));
  HAI_TRY(const PoolWindow window, pool_window_of(context.node));
  Rule<Shape> shape = shape_rules::pool(input_type(context, 0).shape, window);
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O310", "{}", shape.reason());
  HAI_TRY(ir::TensorType y, rescaled_output(context, 0, std::move(*shape)));
  return std::vector<ir::TensorType>{std::move(y)};
}

// The element under one window with the largest value; -1 when the window sees none.
template <typename Load>
int64_t largest(const Dims& in, const PoolWindow& window, const Index& out, Load&& load) {
  int64_t best = -1;
  for (int64_t i = 0; i < window.kernel[0]; ++i) {
    for (int64_t j = 0; j < window.kernel[1]; ++j) {
      const int64_t row = out[1] * window.strides[0] - window.pads[0] + i * window.dilations[0];
      const int64_t column = out[2] * window.strides[1] - window.pads[1] + j * window.dilations[1];
      if (row < 0 || row >= in[1] || column < 0 || column >= in[2]) continue;
      const int64_t at = ((out[0] * in[1] + row) * in[2] + column) * in[3] + out[3];
      const auto value = load(at);
      if (std::isnan(static_cast<double>(value))) continue;
      if (best < 0 || value > load(best)) best = at;
    }
  }
  return best;
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  HAI_TRY(const PoolWindow window, pool_window_of(context.node));
  int64_t next = 0;
  for_each_index(y.dims, [&](const Index& out) {
    if (is_float(x.dtype)) {
      const int64_t at = largest(x.dims, window, out, [&](int64_t i) { return load_f64(x, i); });
      store_f64(y, next++, at < 0 ? -std::numeric_limits<double>::infinity() : load_f64(x, at));
      return;
    }
    const int64_t at = largest(x.dims, window, out, [&](int64_t i) { return load_integer(x, i); });
    const int64_t least = bit_width(x.dtype) > 32
                              ? (x.dtype == DataType::kI64 ? std::numeric_limits<int64_t>::min() : 0)
                              : integer_min(x.dtype);
    store_integer(y, next++, rescaled(x, y, at < 0 ? least : load_integer(x, at)));
  });
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  const auto kernel = context.node.ints_attribute("kernel", {1, 1});
  return {0, context.outputs[0].count() * kernel[0] * kernel[1]};
}

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  const Quantization scale = per_tensor_quantization(0.05F, -7);
  const Quantization coarser = per_tensor_quantization(0.11F, 3);
  const Quantization unsigned_scale = per_tensor_quantization(0.02F, 100);
  const ir::Attributes three = {{"kernel", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}};
  const ir::Attributes same_5 = {{"kernel", Ints{5, 5}}, {"pads", Ints{2, 2, 2, 2}}};
  const ir::Attributes two = {{"kernel", Ints{2, 2}}, {"strides", Ints{2, 2}}};
  const ir::Attributes ceil = {
      {"kernel", Ints{3, 2}}, {"strides", Ints{2, 3}}, {"pads", Ints{1, 0, 0, 1}}, {"ceil_mode", int64_t{1}}};
  const ir::Attributes dilated = {
      {"kernel", Ints{2, 3}}, {"pads", Ints{1, 2, 1, 2}}, {"dilations", Ints{3, 2}}, {"strides", Ints{1, 2}}};
  std::vector<Sample> out;
  out.push_back(make_sample("3x3_stride2", {sample_input(DataType::kF32, {1, 19, 13, 64})}, three));
  out.push_back(make_sample("same_5x5", {sample_input(DataType::kF32, {2, 13, 13, 35})}, same_5));
  out.push_back(make_sample("ceil_uneven", {sample_input(DataType::kF32, {1, 13, 19, 7})}, ceil));
  out.push_back(make_sample("dilated", {sample_input(DataType::kF32, {1, 13, 19, 3})}, dilated));
  out.push_back(make_sample("large", {sample_input(DataType::kF32, {1, 127, 113, 19})}, three));
  out.push_back(make_sample("i8", {sample_input(DataType::kI8, {1, 19, 13, 67}, scale)}, three));
  out.push_back(declaring(make_sample("i8_rescaled", {sample_input(DataType::kI8, {2, 13, 7, 19}, scale)}, ceil),
                          DataType::kI8, coarser));
  out.push_back(make_sample("u8", {sample_input(DataType::kU8, {1, 13, 13, 127}, unsigned_scale)}, same_5));
  out.push_back(declaring(make_sample("u8_rescaled", {sample_input(DataType::kU8, {1, 13, 7, 5}, unsigned_scale)}, two),
                          DataType::kU8, per_tensor_quantization(0.03F, 60)));
  out.push_back(make_sample("i8_dilated", {sample_input(DataType::kI8, {1, 13, 19, 33}, scale)}, dilated));
  out.push_back(
      declaring(make_sample("i16_rescaled",
                            {sample_input(DataType::kI16, {1, 13, 7, 19}, per_tensor_quantization(0.001F, 3))}, three),
                DataType::kI16, per_tensor_quantization(0.0017F, -5)));
  out.push_back(make_sample("f16", {sample_input(DataType::kF16, {1, 7, 5, 3})}, two));
  out.push_back(make_sample("plain_i32", {sample_input(DataType::kI32, {1, 7, 5, 3})}, two));
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "max_pool";
  schema.doc =
      "y[n, i, j, c] = max over the window of x[n, i * stride - pad + k * dilation, ..., c]. Padding takes no part. "
      "Output size: floor((in + pads - dilation * (kernel - 1) - 1) / stride) + 1, rounded up with ceil_mode unless "
      "the "
      "last window would begin in the end padding. An integer output may have another scale than x.";
  schema.inputs = {{"x", "[N, H, W, C]"}};
  schema.outputs = {{"y", "[N, OH, OW, C]"}};
  schema.attributes = {{"kernel", AttributeKind::kInts, "height and width of the window", true},
                       {"strides", AttributeKind::kInts, "steps of the window, default [1, 1]"},
                       {"pads", AttributeKind::kInts, "top, left, bottom, right; default 0"},
                       {"dilations", AttributeKind::kInts, "distance of neighbouring taps, default [1, 1]"},
                       {"ceil_mode", AttributeKind::kInt, "1: round the output size up; default 0"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"MaxPool"};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> max_pool_schemas();
std::span<const OpSchema> max_pool_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

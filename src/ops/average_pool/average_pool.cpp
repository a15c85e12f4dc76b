// average_pool: the mean of the elements under a window, NHWC.
//
// The divisor counts the elements inside, or with count_include_pad those in the padding too (as zeros), but never what
// ceil_mode lets reach past the padding. Integers: acc = sum of (q - z_x), M = s_x / (s_y * divisor), one multiplier a
// divisor (docs/reference/arithmetic.md, "Average and sum").
#include <fmt/format.h>

#include "ops/data_movement.h"
#include "types/epilogue.h"
#include "types/fixed_point.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

// Elements whose sum stays exact: |q - z| <= 255 in 31 bits, |q - z| < 2^17 in 53.
int64_t most_elements(DataType dtype) { return bit_width(dtype) == 8 ? INT32_MAX / 255 : int64_t{1} << 36; }

Status check_integer(const ir::TensorType& x, const ir::TensorType& y, const PoolWindow& window) {
  int64_t least = 1;
  int64_t largest = 1;
  for (size_t axis = 0; axis < 2; ++axis) {
    const DivisorBounds bounds = pool_divisor_bounds(window, axis, x.shape[axis + 1].value, y.shape[axis + 1].value);
    least *= bounds.least;
    largest *= bounds.largest;
  }
  if (largest > most_elements(x.dtype)) {
    return make_error(StatusCode::kOutOfRange, "O320", "a window of {} elements of {} may overflow; at most {}",
                      largest, data_type_name(x.dtype), most_elements(x.dtype));
  }
  for (const int64_t divisor : {least, largest}) {
    HAI_TRY_STATUS(
        require_multiplier(hai_multiplier_average(x.quantization->scales[0], y.quantization->scales[0], divisor)));
  }
  return {};
}

// The attribute rounding: fixed_point averages stored integers, so that x and y must mean the same by them.
Status check_rounding(const ir::Node& node, const ir::TensorType& x, const ir::TensorType& y,
                      const PoolWindow& window) {
  HAI_TRY(const bool fixed_point, parse_fixed_point(node.attributes));
  if (!fixed_point) return {};
  const bool fits = is_quantized(y) && contains(kQuantized8, x.dtype) && y.dtype == x.dtype &&
                    y.quantization == x.quantization && !window.count_padding &&
                    window.kernel[0] * window.kernel[1] <= 2048;
  if (fits) return {};
  return make_error(StatusCode::kUnsupported, "O322",
                    "rounding fixed_point averages at most 2048 8-bit integers, without padding, to the scale of x");
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantizedTypes));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, false));
  HAI_TRY(const PoolWindow window, pool_window_of(context.node));
  Rule<Shape> shape = shape_rules::pool(input_type(context, 0).shape, window);
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O321", "{}", shape.reason());
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, std::move(*shape)));
  if (is_quantized(y)) HAI_TRY_STATUS(check_integer(input_type(context, 0), y, window));
  HAI_TRY_STATUS(check_rounding(context.node, input_type(context, 0), y, window));
  return std::vector<ir::TensorType>{std::move(y)};
}

// Sum of the elements under one window.
template <typename Load>
auto window_sum(const Dims& in, const PoolWindow& window, const Index& out, Load&& load) {
  decltype(load(int64_t{0})) sum = 0;
  for (int64_t i = 0; i < window.kernel[0]; ++i) {
    for (int64_t j = 0; j < window.kernel[1]; ++j) {
      const int64_t row = out[1] * window.strides[0] - window.pads[0] + i;
      const int64_t column = out[2] * window.strides[1] - window.pads[1] + j;
      if (row < 0 || row >= in[1] || column < 0 || column >= in[2]) continue;
      sum += load(((out[0] * in[1] + row) * in[2] + column) * in[3] + out[3]);
    }
  }
  return sum;
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  HAI_TRY(const PoolWindow window, pool_window_of(context.node));
  HAI_TRY(const bool fixed_point, parse_fixed_point(context.node.attributes));
  int64_t next = 0;
  for_each_index(y.dims, [&](const Index& out) {
    const int64_t divisor = pool_divisor(window, 0, x.dims[1], out[1]) * pool_divisor(window, 1, x.dims[2], out[2]);
    if (is_float(x.dtype)) {
      const double sum = window_sum(x.dims, window, out, [&](int64_t i) { return load_f64(x, i); });
      store_f64(y, next++, sum / static_cast<double>(divisor));
      return;
    }
    const int64_t zero = fixed_point ? 0 : zero_point_of(x);
    const int64_t acc = window_sum(x.dims, window, out, [&](int64_t i) { return load_integer(x, i) - zero; });
    if (fixed_point) {
      hai_output_range range = output_range(y);
      range.zero_point = 0;
      const float m = hai_multiplier_average(HAI_FIXED_POINT_AVERAGE_SCALE, 1.0F, divisor);
      store_integer(y, next++, hai_requantize_i32(static_cast<int32_t>(acc), m, range));
      return;
    }
    store_integer(y, next++, requantized(x.dtype, y, acc, hai_multiplier_average(scale_of(x), scale_of(y), divisor)));
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
  const Quantization finer = per_tensor_quantization(0.02F, 11);
  const Quantization unsigned_scale = per_tensor_quantization(0.02F, 100);
  const ir::Attributes three = {{"kernel", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}};
  const ir::Attributes two = {{"kernel", Ints{2, 2}}, {"strides", Ints{2, 2}}};
  ir::Attributes ceil = {
      {"kernel", Ints{3, 2}}, {"strides", Ints{2, 3}}, {"pads", Ints{1, 0, 0, 1}}, {"ceil_mode", int64_t{1}}};
  const ir::Attributes with_padding = {{"kernel", Ints{3, 3}},
                                       {"strides", Ints{2, 2}},
                                       {"pads", Ints{1, 1, 1, 1}},
                                       {"ceil_mode", int64_t{1}},
                                       {"count_include_pad", int64_t{1}}};
  const ir::Attributes whole = {{"kernel", Ints{13, 19}}};
  std::vector<Sample> out;
  out.push_back(make_sample("3x3_stride2", {sample_input(DataType::kF32, {1, 19, 13, 64})}, three));
  out.push_back(make_sample("count_include_pad", {sample_input(DataType::kF32, {2, 14, 13, 35})}, with_padding));
  out.push_back(make_sample("ceil_uneven", {sample_input(DataType::kF32, {1, 13, 19, 7})}, ceil));
  out.push_back(make_sample("large", {sample_input(DataType::kF32, {1, 127, 113, 19})}, two));
  out.push_back(make_sample("whole_picture", {sample_input(DataType::kF32, {1, 13, 19, 127})}, whole));
  const auto add_integer = [&](std::string name, DataType dtype, Shape shape, const Quantization& x,
                               const Quantization& y, const ir::Attributes& attributes) {
    out.push_back(
        declaring(make_sample(std::move(name), {sample_input(dtype, std::move(shape), x)}, attributes), dtype, y));
  };
  add_integer("i8", DataType::kI8, {1, 19, 13, 67}, scale, finer, three);
  add_integer("i8_count_include_pad", DataType::kI8, {2, 14, 13, 35}, scale, scale, with_padding);
  add_integer("i8_ceil_uneven", DataType::kI8, {1, 13, 19, 7}, scale, finer, ceil);
  add_integer("i8_whole_picture", DataType::kI8, {1, 13, 19, 300}, scale, finer, whole);
  ir::Attributes fixed_point = three;
  fixed_point["rounding"] = std::string("fixed_point");
  add_integer("i8_fixed_point", DataType::kI8, {1, 19, 13, 67}, scale, scale, fixed_point);
  add_integer("u8_fixed_point", DataType::kU8, {1, 12, 13, 19}, unsigned_scale, unsigned_scale, fixed_point);
  add_integer("u8", DataType::kU8, {1, 13, 13, 127}, unsigned_scale, unsigned_scale, two);
  add_integer("i16", DataType::kI16, {1, 13, 7, 5}, per_tensor_quantization(0.001F, 0),
              per_tensor_quantization(0.0007F, 5), three);
  out.push_back(make_sample("f64", {sample_input(DataType::kF64, {1, 7, 5, 3})}, two));
  for (const auto& [name, attributes] : {std::pair{"f16", three}, std::pair{"f16_count_include_pad", with_padding}}) {
    out.push_back(make_sample(name, {sample_input(DataType::kF16, {1, 13, 19, 21})}, attributes));
    out.back().tolerance = 0.0;  // sums of so few are exact in f64
  }
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "average_pool";
  schema.doc =
      "y[n, i, j, c] = sum over the window of x / divisor. The divisor counts the elements inside x, with "
      "count_include_pad also those in the padding (never what ceil_mode lets reach beyond). Output size as max_pool. "
      "Integers: q_y = requantize(sum of (q_x - z_x), s_x / (s_y * divisor)).";
  schema.inputs = {{"x", "[N, H, W, C]"}};
  schema.outputs = {{"y", "[N, OH, OW, C]; a quantized x needs a declared integer type with scale and zero point"}};
  schema.attributes = {{"kernel", AttributeKind::kInts, "height and width of the window", true},
                       {"strides", AttributeKind::kInts, "steps of the window, default [1, 1]"},
                       {"pads", AttributeKind::kInts, "top, left, bottom, right; default 0"},
                       {"ceil_mode", AttributeKind::kInt, "1: round the output size up; default 0"},
                       {"count_include_pad", AttributeKind::kInt, "1: padding counts in the divisor; default 0"},
                       {"rounding", AttributeKind::kString,
                        "of integers: half_even (default), or fixed_point, which is TensorFlow Lite's"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"AveragePool"};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> average_pool_schemas();
std::span<const OpSchema> average_pool_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

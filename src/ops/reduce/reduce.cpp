// reduce_mean, reduce_sum, reduce_max, reduce_min: many elements along some axes become one.
//
// Integers that stand for real numbers: mean and sum are exact sums of (q - z_x), requantized once with
// M = s_x / (s_y * count) or s_x / s_y; max and min compare stored integers and may rescale the result. Plain integers
// have sum (modulo 2^64), max and min. NaN elements are passed over by max and min.
#include <fmt/format.h>

#include <limits>

#include "base/checked.h"
#include "ops/data_movement.h"
#include "types/epilogue.h"
#include "types/fixed_point.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

enum Variant : int64_t { kMean, kSum, kMax, kMin };

bool adds(const OpSchema& schema) { return schema.variant == kMean || schema.variant == kSum; }

// Sorted axes in [0, rank); all of them when the attribute is empty or absent.
Result<std::vector<int>> axes_of(const ir::Node& node, size_t rank) {
  Rule<std::vector<int>> axes = shape_rules::axes(node.ints_attribute("axes"), rank);
  if (!axes) return make_error(StatusCode::kInvalidArgument, "O330", "attribute \"axes\": {}", axes.reason());
  if (axes->empty()) {
    for (int i = 0; i < static_cast<int>(rank); ++i) axes->push_back(i);
  }
  return std::move(*axes);
}

// How many elements become one, with a symbol at its bounds.
struct CountBounds {
  int64_t least = 1;
  int64_t largest = 1;
};
Result<CountBounds> count_bounds(const InferContext& context, std::span<const int> axes) {
  CountBounds out;
  for (const int axis : axes) {
    const Dim& dim = input_type(context, 0).shape[static_cast<size_t>(axis)];
    const Symbol bounds = dim.is_symbolic() ? context.symbols[static_cast<size_t>(dim.symbol)] : Symbol{"", 1, 1};
    const auto least = checked_mul(dim.value, bounds.min);
    const auto largest = checked_mul(dim.value, bounds.max);
    const auto least_count = least ? checked_mul(out.least, *least) : std::nullopt;
    const auto largest_count = largest ? checked_mul(out.largest, *largest) : std::nullopt;
    if (!least_count || !largest_count)
      return make_error(StatusCode::kOutOfRange, "O331", "it reduces more than 2^63 elements");
    out = {*least_count, *largest_count};
  }
  return out;
}

Status check_sum(const OpSchema& schema, const ir::TensorType& x, const ir::TensorType& y, const CountBounds& count) {
  const int64_t most = bit_width(x.dtype) == 8 ? INT32_MAX / 255 : int64_t{1} << 36;
  if (count.largest > most) {
    return make_error(StatusCode::kOutOfRange, "O332", "a sum of {} elements of {} may overflow; at most {}",
                      count.largest, data_type_name(x.dtype), most);
  }
  for (const int64_t one : {count.least, count.largest}) {
    const int64_t divisor = schema.variant == kMean && one > 0 ? one : 1;
    HAI_TRY_STATUS(
        require_multiplier(hai_multiplier_average(x.quantization->scales[0], y.quantization->scales[0], divisor)));
  }
  return {};
}

// rounding: fixed_point is for means of 8-bit integers.
Status check_rounding(const OpSchema& schema, const InferContext& context) {
  HAI_TRY(const bool fixed_point, parse_fixed_point(context.node.attributes));
  if (!fixed_point || (schema.variant == kMean && contains(kQuantized8, input_type(context, 0).dtype))) return {};
  return make_error(StatusCode::kUnsupported, "O338", "rounding fixed_point is for means of 8-bit integers");
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  const DataTypeSet plain = schema.variant == kMean ? 0 : kPlainIntegers;
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantizedTypes | plain));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, !adds(schema) || contains(plain, x.dtype)));
  if (schema.variant == kMean) HAI_TRY_STATUS(check_rounding(schema, context));
  HAI_TRY(const int64_t keep_dims, bounded_int(context.node, "keep_dims", 1, 0, 1));
  HAI_TRY(const std::vector<int> axes, axes_of(context.node, x.shape.size()));
  HAI_TRY(const CountBounds count, count_bounds(context, axes));
  if (count.least == 0 && schema.variant != kSum) {
    return make_error(StatusCode::kInvalidArgument, "O333", "x is empty along the axes: nothing has no {}",
                      schema.name.substr(7));
  }
  Rule<Shape> shape = shape_rules::reduce(x.shape, axes, keep_dims != 0);
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O334", "{}", shape.reason());
  if (!adds(schema)) {
    HAI_TRY(ir::TensorType y, rescaled_output(context, 0, std::move(*shape)));
    return std::vector<ir::TensorType>{std::move(y)};
  }
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, std::move(*shape)));
  if (is_quantized(y)) HAI_TRY_STATUS(check_sum(schema, x, y, count));
  return std::vector<ir::TensorType>{std::move(y)};
}

// For each element of x its place in y, whether axes are kept as 1 or not.
Index output_strides(const Dims& in, std::span<const int> axes) {
  Index strides{};
  int64_t stride = 1;
  for (int axis = in.rank - 1; axis >= 0; --axis) {
    if (std::find(axes.begin(), axes.end(), axis) != axes.end()) continue;
    strides[static_cast<size_t>(axis)] = stride;
    stride *= in[axis];
  }
  return strides;
}

void reduce_floats(const OpSchema& schema, const TensorView& x, const MutableTensorView& y, const Index& strides) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double start = adds(schema) ? 0.0 : schema.variant == kMax ? -kInfinity : kInfinity;
  std::vector<double> result(static_cast<size_t>(y.count()), start);
  int64_t next = 0;
  for_each_index(x.dims, [&](const Index& index) {
    const double value = load_f64(x, next++);
    double& target = result[static_cast<size_t>(offset_of(index, strides, x.dims.rank))];
    if (adds(schema)) {
      target += value;
    } else if (schema.variant == kMax ? value > target : value < target) {
      target = value;
    }
  });
  if (schema.variant == kMean) {
    const int64_t count = x.count() / y.count();
    for (double& value : result) value /= static_cast<double>(count);
  }
  store_all_f64(y, result);
}

void reduce_integers(const OpSchema& schema, const TensorView& x, const MutableTensorView& y, const Index& strides,
                     bool fixed_point) {
  std::vector<int64_t> result(static_cast<size_t>(y.count()), 0);
  std::vector<bool> seen(result.size(), false);
  const int64_t zero = is_quantized(x) ? zero_point_of(x) : 0;
  int64_t next = 0;
  for_each_index(x.dims, [&](const Index& index) {
    const int64_t value = load_integer(x, next++);
    const auto at = static_cast<size_t>(offset_of(index, strides, x.dims.rank));
    if (adds(schema)) {
      result[at] = static_cast<int64_t>(static_cast<uint64_t>(result[at]) + static_cast<uint64_t>(value - zero));
    } else if (!seen[at] || (schema.variant == kMax ? value > result[at] : value < result[at])) {
      result[at] = value;
    }
    seen[at] = true;
  });
  const int64_t divisor = schema.variant == kMean ? x.count() / y.count() : 1;
  const float multiplier = is_quantized(x) ? hai_multiplier_average(scale_of(x), scale_of(y), divisor) : 1.0F;
  for (size_t i = 0; i < result.size(); ++i) {
    int64_t value = result[i];
    if (fixed_point) {
      store_integer(
          y, static_cast<int64_t>(i),
          hai_requantize_fixed_point(static_cast<int32_t>(value),
                                     hai_fixed_point_of_mean(scale_of(x), scale_of(y), divisor), output_range(y)));
      continue;
    }
    if (is_quantized(x)) value = adds(schema) ? requantized(x.dtype, y, value, multiplier) : rescaled(x, y, value);
    store_integer(y, static_cast<int64_t>(i), value);
  }
}

Status reference(const OpSchema& schema, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  if (context.outputs[0].count() == 0) return {};
  HAI_TRY(const std::vector<int> axes, axes_of(context.node, static_cast<size_t>(x.dims.rank)));
  const Index strides = output_strides(x.dims, axes);
  HAI_TRY(const bool fixed_point, parse_fixed_point(context.node.attributes));
  if (is_float(x.dtype)) {
    reduce_floats(schema, x, context.outputs[0], strides);
  } else {
    reduce_integers(schema, x, context.outputs[0], strides, fixed_point);
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.inputs[0].count()}; }

std::vector<Sample> samples(const OpSchema& schema) {
  using Ints = std::vector<int64_t>;
  const Quantization scale = per_tensor_quantization(0.05F, -7);
  const Quantization other =
      schema.variant == kSum ? per_tensor_quantization(0.7F, 4) : per_tensor_quantization(0.03F, 4);
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, Ints axes, int64_t keep_dims = 1) {
    SampleInput x = sample_input(dtype, std::move(shape));
    if (contains(kQuantizedTypes, dtype)) x.type.quantization = scale;
    if (dtype == DataType::kU8) x.type.quantization = per_tensor_quantization(0.02F, 100);
    Sample sample = make_sample(std::move(name), {std::move(x)}, {{"axes", std::move(axes)}, {"keep_dims", keep_dims}});
    // Signed sums of n terms cancel: an error of n units is one of sqrt(n) of the largest result.
    sample.tolerance = dtype == DataType::kF16 ? 1e-3 : dtype == DataType::kBF16 ? 1e-2 : 1e-5;
    sample.op = schema.name;
    if (contains(kQuantizedTypes, dtype)) {
      const Quantization declared = dtype == DataType::kU8 ? per_tensor_quantization(other.scales[0], 90) : other;
      sample = declaring(std::move(sample), dtype, declared);
    }
    out.push_back(std::move(sample));
  };
  add("picture_f32", DataType::kF32, {2, 13, 19, 67}, {1, 2});
  add("picture_flat_f32", DataType::kF32, {1, 7, 7, 300}, {-3, -2}, 0);
  add("last_f32", DataType::kF32, {13, 127}, {-1});
  add("last_long_f32", DataType::kF32, {3, 5003}, {1}, 0);
  add("first_f32", DataType::kF32, {127, 19}, {0});
  add("middle_f32", DataType::kF32, {5, 13, 3}, {1}, 0);
  add("outer_and_last_f32", DataType::kF32, {7, 13, 5, 19}, {0, 3});
  add("every_other_f32", DataType::kF32, {3, 5, 7, 13}, {0, 2}, 0);
  add("all_f32", DataType::kF32, {13, 19}, {}, 0);
  add("ones_f32", DataType::kF32, {1, 1, 1, 19}, {1, 2});
  add("large_f32", DataType::kF32, {1, 127, 113, 16}, {1, 2});
  add("picture_i8", DataType::kI8, {2, 13, 19, 67}, {1, 2});
  add("last_i8", DataType::kI8, {13, 127}, {-1});
  add("every_other_i8", DataType::kI8, {3, 5, 7, 13}, {0, 2}, 0);
  add("picture_u8", DataType::kU8, {1, 7, 7, 300}, {1, 2});
  add("last_u8", DataType::kU8, {3, 1003}, {1}, 0);
  add("i16", DataType::kI16, {2, 7, 5, 3}, {1, 2});
  add("f64", DataType::kF64, {5, 7}, {0});
  add("f16", DataType::kF16, {5, 7}, {1});
  if (schema.variant != kMean) add("plain_i64", DataType::kI64, {5, 7}, {1});
  if (schema.variant != kMean) return out;
  add("picture_f16", DataType::kF16, {1, 7, 5, 19}, {1, 2});
  out.back().tolerance = 0.0;  // sums of so few are exact in f64
  for (const DataType dtype : {DataType::kI8, DataType::kU8}) {
    add("fixed_point_" + std::string(data_type_name(dtype)), dtype, {2, 7, 7, 67}, {1, 2});
    out.back().attributes["rounding"] = std::string("fixed_point");
  }
  return out;
}

OpSchema make_schema(int64_t variant, std::string name, std::string formula, std::string_view onnx_name) {
  OpSchema schema;
  schema.name = std::move(name);
  schema.doc = fmt::format("{} Axes count from the end when negative; none means all of them.", formula);
  schema.inputs = {{"x", "any shape"}};
  schema.outputs = {{"y", "the reduced axes have size 1, or are gone when keep_dims is 0"}};
  schema.attributes = {{"axes", AttributeKind::kInts, "the axes to reduce; default all"},
                       {"keep_dims", AttributeKind::kInt, "1 (default): keep reduced axes with size 1"}};
  if (variant == kMean) {
    schema.attributes.push_back({"rounding", AttributeKind::kString,
                                 "of integers: half_even (default), or fixed_point, which is TensorFlow Lite's"});
  }
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {onnx_name};
  if (variant != kMean) schema.explained_holes = {{"sd3403", "of reductions it has means of pictures: on the CPU"}};
  schema.variant = variant;
  return schema;
}

std::vector<OpSchema> make_schemas() {
  std::vector<OpSchema> schemas;
  schemas.push_back(make_schema(kMean, "reduce_mean",
                                "y = mean of x along the axes. Integers: requantize(sum of (q - z_x), "
                                "s_x / (s_y * count)).",
                                "ReduceMean"));
  schemas.push_back(make_schema(kSum, "reduce_sum",
                                "y = sum of x along the axes. Integers: requantize(sum of (q - z_x), s_x / s_y); plain "
                                "ones add modulo 2^64.",
                                "ReduceSum"));
  schemas.push_back(make_schema(kMax, "reduce_max",
                                "y = largest x along the axes; NaN is passed over. Integers compare as stored; the "
                                "output may have another scale.",
                                "ReduceMax"));
  schemas.push_back(make_schema(kMin, "reduce_min",
                                "y = smallest x along the axes; NaN is passed over. Integers compare as stored; the "
                                "output may have another scale.",
                                "ReduceMin"));
  schemas[0].onnx_names.push_back("GlobalAveragePool");
  schemas[2].onnx_names.push_back("GlobalMaxPool");
  return schemas;
}

}  // namespace

std::span<const OpSchema> reduce_schemas();
std::span<const OpSchema> reduce_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

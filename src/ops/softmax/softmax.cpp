// softmax along one axis.
//
// Floats: exp(x - max) / sum in f64, rounded once. Quantized 8-bit: exponentials of (q - max) <= 0 from a table of 256
// integers of 23 bits, their sum in i64, one f32 product and one rounding an element (docs/reference/arithmetic.md).
#include "ops/inference.h"
#include "ops/reference.h"
#include "types/exact_math.h"

#include <cmath>

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantized8));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 1, kMaxRank));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, false));
  const ir::TensorType& x = input_type(context, 0);
  HAI_TRY_STATUS(normalise_axis(context.node.int_attribute("axis", -1), rank_of(x), "axis"));
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, x.shape, 0, kQuantized8));
  return std::vector<ir::TensorType>{std::move(y)};
}

// Elements first, first + step, ... of one slice.
struct Slice {
  int64_t first;
  int64_t step;
  int64_t size;
  int64_t at(int64_t i) const { return first + i * step; }
};

void float_slice(const TensorView& x, const MutableTensorView& y, const Slice& slice) {
  double largest = load_f64(x, slice.at(0));
  for (int64_t i = 1; i < slice.size; ++i) {
    const double value = load_f64(x, slice.at(i));
    if (value > largest || std::isnan(value)) largest = value;
  }
  std::vector<double> values;
  double sum = 0.0;
  for (int64_t i = 0; i < slice.size; ++i) {
    values.push_back(hai_exp(load_f64(x, slice.at(i)) - largest));
    sum += values.back();
  }
  for (int64_t i = 0; i < slice.size; ++i) store_f64(y, slice.at(i), values[static_cast<size_t>(i)] / sum);
}

void integer_slice(const TensorView& x, const MutableTensorView& y, const Slice& slice, const int32_t* table) {
  int64_t largest = load_integer(x, slice.at(0));
  for (int64_t i = 1; i < slice.size; ++i) largest = std::max(largest, load_integer(x, slice.at(i)));
  int64_t sum = 0;
  for (int64_t i = 0; i < slice.size; ++i) sum += table[largest - load_integer(x, slice.at(i))];
  const float inverse = hai_softmax_inverse(sum, scale_of(y));
  for (int64_t i = 0; i < slice.size; ++i) {
    const int32_t numerator = table[largest - load_integer(x, slice.at(i))];
    store_integer(y, slice.at(i), hai_softmax_output(numerator, inverse, output_range(y)));
  }
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const int64_t given = context.node.int_attribute("axis", -1);
  const auto axis = static_cast<int>(given < 0 ? given + x.dims.rank : given);
  int64_t inner = 1;
  for (int i = axis + 1; i < x.dims.rank; ++i) inner *= x.dims[i];
  const int64_t size = x.dims[axis];
  if (x.count() == 0) return {};
  std::vector<int32_t> table(256);
  for (int32_t distance = 0; distance < 256; ++distance) {
    table[static_cast<size_t>(distance)] = hai_softmax_table_entry(distance, scale_of(x));
  }
  for (int64_t n = 0; n < x.count() / size; ++n) {
    const Slice slice{n / inner * inner * size + n % inner, inner, size};
    if (is_float(x.dtype)) {
      float_slice(x, context.outputs[0], slice);
    } else {
      integer_slice(x, context.outputs[0], slice, table.data());
    }
  }
  return {};
}

// Maximum, exponential, sum, product: about four operations an element.
Cost cost(const OpSchema&, const CostContext& context) { return {0, 4 * context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, int64_t axis, float scale = 0.1F) {
    Sample sample;
    sample.name = std::move(name);
    SampleInput x;
    x.type = {dtype, shape, std::nullopt};
    x.low = -8.0;
    x.high = 8.0;
    if (is_integer(dtype)) {
      x.type.quantization = per_tensor_quantization(scale, dtype == DataType::kU8 ? 119 : 3);
      const int32_t zero = static_cast<int32_t>(integer_min(dtype));
      sample.outputs = {ir::TensorType{dtype, std::move(shape), per_tensor_quantization(1.0F / 256.0F, zero)}};
    }
    sample.inputs = {std::move(x)};
    sample.attributes["axis"] = axis;
    // The largest reference value is close to 1: rounding of the exponentials and of their sum.
    sample.tolerance = dtype == DataType::kF16 ? 1e-3 : 3e-6;
    out.push_back(std::move(sample));
  };
  add("last_f32", DataType::kF32, {1, 13, 19}, -1);
  add("long_f32", DataType::kF32, {3, 1000}, 1);
  add("middle_f32", DataType::kF32, {2, 13, 127}, 1);
  add("first_f32", DataType::kF32, {19, 13}, 0);
  add("one_f32", DataType::kF32, {7, 1}, -1);
  add("anchors_f32", DataType::kF32, {1, 4, 16, 113}, 2);
  add("f16", DataType::kF16, {3, 13}, -1);
  add("last_i8", DataType::kI8, {1, 13, 19}, -1);
  add("long_i8", DataType::kI8, {3, 1000}, 1, 0.02F);
  add("middle_i8", DataType::kI8, {2, 13, 127}, 1);
  add("last_u8", DataType::kU8, {13, 127}, -1, 0.05F);
  add("steep_i8", DataType::kI8, {13, 19}, -1, 1.7F);
  return out;
}

}  // namespace

std::span<const OpSchema> softmax_schemas();
std::span<const OpSchema> softmax_schemas() {
  static const std::vector<OpSchema> schemas = [] {
    OpSchema schema;
    schema.name = "softmax";
    schema.doc =
        "y = exp(x - max) / sum of exp(x - max) along one axis. Quantized 8-bit tensors use a table of exponentials of "
        "23 bits (docs/reference/arithmetic.md, \"Softmax\").";
    schema.inputs = {{"x", "rank 1 or more; floats, or i8 or u8 with one scale"}};
    schema.outputs = {{"y", "shape of x; a quantized x needs a declared i8 or u8, usually scale 1/256"}};
    schema.attributes = {{"axis", AttributeKind::kInt, "default -1, the last axis"}};
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    schema.onnx_names = {"Softmax"};
    return std::vector<OpSchema>{schema};
  }();
  return schemas;
}

}  // namespace hai::ops

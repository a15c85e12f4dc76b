// cast: the same number in another element type (types/cast.h says what happens to those that do not fit).
//
// Stored integers of quantized tensors are refused: quantize, dequantize and rescale keep their meaning, a cast would
// not.
#include "types/cast.h"

#include <fmt/format.h>

#include "ops/inference.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

constexpr DataTypeSet kNibbles = set_of({DataType::kI4, DataType::kU4});

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kAllTypes & ~kNibbles));
  const std::string name = context.node.string_attribute("dtype", "");
  const auto dtype = data_type_from_name(name);
  if (!dtype || contains(kNibbles, *dtype)) {
    return make_error(StatusCode::kInvalidArgument, "O218", "cannot cast to \"{}\"; types are {}", name,
                      describe(kAllTypes & ~kNibbles));
  }
  if (input_type(context, 0).quantization) {
    return make_error(StatusCode::kUnsupported, "O219",
                      "cast of a quantized tensor would drop its scale; use dequantize or rescale");
  }
  return std::vector<ir::TensorType>{{*dtype, input_type(context, 0).shape, std::nullopt}};
}

template <typename From>
void store_cast(const MutableTensorView& y, int64_t i, From x) {
  switch (y.dtype) {
    case DataType::kI64:
      return store_integer(y, i, cast_element<int64_t>(x));
    case DataType::kU64:
      return store_integer(y, i, static_cast<int64_t>(cast_element<uint64_t>(x)));
    case DataType::kI32:
      return store_integer(y, i, cast_element<int32_t>(x));
    case DataType::kU32:
      return store_integer(y, i, cast_element<uint32_t>(x));
    case DataType::kI16:
      return store_integer(y, i, cast_element<int16_t>(x));
    case DataType::kU16:
      return store_integer(y, i, cast_element<uint16_t>(x));
    case DataType::kI8:
      return store_integer(y, i, cast_element<int8_t>(x));
    case DataType::kU8:
      return store_integer(y, i, cast_element<uint8_t>(x));
    case DataType::kBool:
      return store_integer(y, i, cast_element<BoolByte>(x).value);
    case DataType::kF32:  // not through f64: a large i64 would round twice
      return store_f64(y, i, static_cast<double>(cast_element<float>(x)));
    default:
      return store_f64(y, i, cast_element<double>(x));
  }
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  for (int64_t i = 0; i < x.count(); ++i) {
    if (is_float(x.dtype)) {
      store_cast(context.outputs[0], i, load_f64(x, i));
    } else if (x.dtype == DataType::kU64) {
      store_cast(context.outputs[0], i, static_cast<uint64_t>(load_integer(x, i)));
    } else {
      store_cast(context.outputs[0], i, load_integer(x, i));
    }
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](DataType from, DataType to, double low, double high) {
    Sample sample;
    sample.name = fmt::format("{}_to_{}", data_type_name(from), data_type_name(to));
    SampleInput x;
    x.type = {from, {3, 13, 19}, std::nullopt};
    x.low = low;
    x.high = high;
    x.integers_in_bounds = from != DataType::kBool;
    sample.inputs = {std::move(x)};
    sample.attributes["dtype"] = std::string(data_type_name(to));
    sample.tolerance = 0.0;
    out.push_back(std::move(sample));
  };
  using enum DataType;
  add(kF32, kI32, -3e9, 3e9);
  add(kF32, kI64, -9.5, 9.5);
  add(kF32, kU8, -100, 300);
  add(kF32, kI8, -300, 300);
  add(kF32, kBool, -0.01, 0.01);
  add(kF32, kF32, -1, 1);
  add(kF32, kF16, -70000, 70000);
  add(kF32, kBF16, -9, 9);
  add(kF16, kF32, -9, 9);
  add(kBF16, kF32, -9, 9);
  add(kF64, kF32, -9, 9);
  add(kI64, kF32, -1e9, 1e9);
  add(kI64, kI32, -1e10, 1e10);
  add(kI32, kI64, -1e9, 1e9);
  add(kI32, kF32, -1e9, 1e9);
  add(kU8, kF32, 0, 255);
  add(kI8, kF32, -128, 127);
  add(kI32, kU8, -1000, 1000);
  add(kI32, kBool, -1, 1);
  add(kBool, kF32, 0, 1);
  add(kBool, kI64, 0, 1);
  return out;
}

}  // namespace

std::span<const OpSchema> cast_schemas();
std::span<const OpSchema> cast_schemas() {
  static const std::vector<OpSchema> schemas = [] {
    OpSchema schema;
    schema.name = "cast";
    schema.doc =
        "The same number in another element type. To a float: rounded once. Float to integer: towards zero, clamped, "
        "NaN gives 0. Integer to integer: the low bits. To bool: 1 unless zero.";
    schema.inputs = {{"x", "any type but i4 and u4, without a scale"}};
    schema.outputs = {{"y", "shape of x"}};
    schema.attributes = {{"dtype", AttributeKind::kString, "name of the new type: \"f32\", \"i64\", ...", true}};
    schema.infer = infer;
    schema.reference = reference;
    schema.cost = cost;
    schema.samples = samples;
    schema.onnx_names = {"Cast"};
    return std::vector<OpSchema>{schema};
  }();
  return schemas;
}

}  // namespace hai::ops

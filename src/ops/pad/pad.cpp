// pad: a border of a constant, of the mirrored inside (without repeating the edge) or of the repeated edge.
//
// The constant is a real number: a quantized output stores round_half_even(value / s_y) + z_y, clamped; plain integers
// need an integer. A quantized output may have another scale than x: what is copied is rescaled.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ops/data_movement.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

Status check_value(const ir::TensorType& y, double value) {
  if (is_float(y.dtype) || y.quantization) return {};
  const bool wide = bit_width(y.dtype) > 32;
  const double low = wide ? -9007199254740992.0 : static_cast<double>(integer_min(y.dtype));
  const double high = wide ? 9007199254740992.0 : static_cast<double>(integer_max(y.dtype));
  if (std::floor(value) == value && value >= low && value <= high) return {};
  return make_error(StatusCode::kInvalidArgument, "O370", "attribute \"value\": {} is no {}", value,
                    data_type_name(y.dtype));
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  HAI_TRY_STATUS(require_rank(schema, context, 0, 1, kMaxRank));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, true));
  const auto pads = context.node.ints_attribute("pads");
  HAI_TRY(const std::string mode, word_attribute(context.node, "mode", "constant", {"constant", "reflect", "edge"}));
  Rule<Shape> shape = shape_rules::pad(x.shape, pads, mode);
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O371", "{}", shape.reason());
  HAI_TRY(ir::TensorType y, rescaled_output(context, 0, std::move(*shape)));
  if (mode == "constant") HAI_TRY_STATUS(check_value(y, context.node.float_attribute("value", 0.0)));
  return std::vector<ir::TensorType>{std::move(y)};
}

// Index of x shown at `at`, which counts from the first element of x; -1 in a constant border.
int64_t source_index(std::string_view mode, int64_t at, int64_t size) {
  if (at >= 0 && at < size) return at;
  if (mode == "edge") return at < 0 ? 0 : size - 1;
  if (mode == "reflect") return at < 0 ? -at : 2 * (size - 1) - at;
  return -1;
}

void store_value(const MutableTensorView& y, int64_t i, double value) {
  if (is_quantized(y)) {
    store_integer(y, i, hai_store_f64(value / static_cast<double>(scale_of(y)), output_range(y)));
  } else if (is_float(y.dtype)) {
    store_f64(y, i, value);
  } else {
    store_integer(y, i, static_cast<int64_t>(value));
  }
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const auto pads = context.node.ints_attribute("pads");
  const std::string mode = context.node.string_attribute("mode", "constant");
  const double value = context.node.float_attribute("value", 0.0);
  const Index strides = strides_of(x.dims);
  int64_t next = 0;
  for_each_index(y.dims, [&](const Index& index) {
    int64_t from = 0;
    for (size_t axis = 0; axis < static_cast<size_t>(x.dims.rank) && from >= 0; ++axis) {
      const int64_t at = source_index(mode, index[axis] - pads[axis], x.dims.size[axis]);
      from = at < 0 ? -1 : from + at * strides[axis];
    }
    if (from < 0) {
      store_value(y, next, value);
    } else if (x.quantization && *x.quantization != *y.quantization) {
      store_integer(y, next, rescaled(x, y, load_integer(x, from)));
    } else {
      move_element(y, next, x, from);
    }
    ++next;
  });
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) { return {0, context.outputs[0].count()}; }

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  const Quantization scale = per_tensor_quantization(0.05F, -7);
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, Ints pads, std::string mode, double value = 0.0,
                       std::optional<Quantization> quantization = {}) {
    ir::Attributes attributes = {{"pads", std::move(pads)}, {"mode", std::move(mode)}};
    if (value != 0.0) attributes["value"] = value;
    out.push_back(make_sample(std::move(name), {sample_input(dtype, std::move(shape), std::move(quantization))},
                              std::move(attributes)));
  };
  add("picture", DataType::kF32, {1, 13, 19, 3}, {0, 1, 2, 0, 0, 0, 1, 0}, "constant");
  add("value", DataType::kF32, {2, 7, 5, 3}, {0, 1, 0, 2, 0, 3, 2, 1}, "constant", -0.75);
  add("channels", DataType::kF32, {1, 13, 19, 16}, {0, 0, 0, 3, 0, 0, 0, 13}, "constant", 1.5);
  add("reflect", DataType::kF32, {1, 13, 19, 3}, {0, 3, 18, 0, 0, 12, 1, 0}, "reflect");
  add("reflect_channels", DataType::kF32, {2, 5, 7}, {0, 4, 6, 0, 1, 3}, "reflect");
  add("edge", DataType::kF32, {1, 7, 5, 3}, {0, 3, 9, 1, 0, 11, 2, 0}, "edge");
  add("nothing", DataType::kF32, {3, 5}, {0, 0, 0, 0}, "constant");
  add("large", DataType::kF32, {1, 127, 113, 16}, {0, 1, 1, 0, 0, 1, 1, 0}, "constant");
  add("i8", DataType::kI8, {1, 13, 19, 35}, {0, 1, 2, 0, 0, 0, 1, 0}, "constant", 0.0, scale);
  add("i8_value", DataType::kI8, {1, 13, 5}, {0, 1, 2, 0, 0, 1}, "constant", -1.33, scale);
  add("i8_reflect", DataType::kI8, {1, 13, 19, 3}, {0, 2, 2, 0, 0, 2, 2, 0}, "reflect", 0.0, scale);
  add("i8_rescaled", DataType::kI8, {1, 13, 19, 3}, {0, 1, 1, 0, 0, 1, 1, 0}, "constant", 0.4, scale);
  out.back() = declaring(std::move(out.back()), DataType::kI8, per_tensor_quantization(0.08F, 5));
  add("u8_edge_rescaled", DataType::kU8, {1, 7, 9, 3}, {0, 1, 1, 0, 0, 1, 1, 0}, "edge", 0.0,
      per_tensor_quantization(0.02F, 100));
  out.back() = declaring(std::move(out.back()), DataType::kU8, per_tensor_quantization(0.03F, 70));
  add("i16_rescaled", DataType::kI16, {1, 7, 9, 3}, {0, 1, 1, 0, 0, 1, 1, 0}, "constant", 2.5,
      per_tensor_quantization(0.001F, 3));
  out.back() = declaring(std::move(out.back()), DataType::kI16, per_tensor_quantization(0.0017F, -5));
  add("plain_i32", DataType::kI32, {5}, {2, 1}, "constant", -3.0);
  add("f16", DataType::kF16, {5, 3}, {1, 0, 0, 2}, "constant", 0.1);
  add("bf16", DataType::kBF16, {5, 3}, {1, 0, 0, 2}, "constant", 0.1);
  add("f64", DataType::kF64, {5, 3}, {1, 0, 0, 2}, "constant", 0.1);
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "pad";
  schema.doc =
      "A border around x: of a constant, of x mirrored at its edge element (reflect, by less than the size), or of the "
      "edge element repeated (edge). A quantized output stores the constant as round(value / s_y) + z_y and may have "
      "another scale than x.";
  schema.inputs = {{"x", "any shape of rank 1 or more"}};
  schema.outputs = {{"y", "x with the border"}};
  schema.attributes = {
      {"pads", AttributeKind::kInts, "elements before each axis, then after each axis; not negative", true},
      {"mode", AttributeKind::kString, "constant (default), reflect or edge"},
      {"value", AttributeKind::kFloat, "the constant, a real number; default 0"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Pad"};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> pad_schemas();
std::span<const OpSchema> pad_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

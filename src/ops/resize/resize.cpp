// resize: height and width of NHWC pictures to other sizes, nearest or linear.
//
// Positions are those of types/resize_map.h, computed in f64. Linear: floats blend in f64 and round once; integers use
// weights in 1/2048 along each axis, acc = sum of (q - z_x) * w_y * w_x, M = s_x / (s_y * 2^22).
#include <fmt/format.h>

#include "ops/data_movement.h"
#include "types/resize_map.h"
#include "types/shape_rules.h"

namespace hai::ops {
namespace {

struct Geometry {
  std::array<ResizeAxis, 2> axis;
  ResizeNearest rounding = ResizeNearest::kRoundPreferFloor;
  bool linear = false;
};

// Precondition: infer() has accepted the node.
Geometry geometry_of(const ir::Node& node, const Dims& in, const Dims& out) {
  const auto scales = node.floats_attribute("scales");
  Geometry geometry;
  geometry.rounding = *resize_nearest_from(node.string_attribute("nearest", "round_prefer_floor"));
  geometry.linear = node.string_attribute("mode", "nearest") == "linear";
  for (size_t d = 0; d < 2; ++d) {
    ResizeAxis& axis = geometry.axis[d];
    axis.in = in.size[d + 1];
    axis.out = out.size[d + 1];
    axis.scale = scales.empty() ? static_cast<double>(axis.out) / static_cast<double>(axis.in) : scales[d];
    axis.coordinates = *resize_coordinates_from(node.string_attribute("coordinates", "half_pixel"));
  }
  return geometry;
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  const ir::TensorType& x = input_type(context, 0);
  HAI_TRY(const std::string mode, word_attribute(context.node, "mode", "nearest", {"nearest", "linear"}));
  HAI_TRY_STATUS(word_attribute(context.node, "coordinates", "half_pixel",
                                {"half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"}));
  HAI_TRY_STATUS(word_attribute(context.node, "nearest", "round_prefer_floor",
                                {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}));
  Rule<Shape> shape =
      shape_rules::resize(x.shape, context.node.ints_attribute("sizes"), context.node.floats_attribute("scales"));
  if (!shape) return make_error(StatusCode::kInvalidArgument, "O400", "{}", shape.reason());
  if (mode == "nearest") {
    HAI_TRY(ir::TensorType y,
            moved_with_scales(context, 0, std::move(*shape),
                              scale_axis_of(x) == 3 || scale_axis_of(x) == 0 ? scale_axis_of(x) : -1));
    return std::vector<ir::TensorType>{std::move(y)};
  }
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantizedTypes));
  HAI_TRY_STATUS(require_per_tensor(schema, context, 0, false));
  HAI_TRY(ir::TensorType y, arithmetic_output(schema, context, 0, std::move(*shape)));
  if (is_quantized(y)) {
    HAI_TRY_STATUS(require_multiplier(hai_multiplier_average(x.quantization->scales[0], y.quantization->scales[0],
                                                             int64_t{HAI_RESIZE_ONE} * HAI_RESIZE_ONE)));
  }
  return std::vector<ir::TensorType>{std::move(y)};
}

void linear_element(const TensorView& x, const MutableTensorView& y, const Geometry& geometry, const Index& out,
                    int64_t to) {
  const ResizeTap row = resize_linear_tap(geometry.axis[0], out[1]);
  const ResizeTap column = resize_linear_tap(geometry.axis[1], out[2]);
  const auto at = [&](int64_t i, int64_t j) { return ((out[0] * x.dims[1] + i) * x.dims[2] + j) * x.dims[3] + out[3]; };
  const std::array<int64_t, 4> from = {at(row.first, column.first), at(row.first, column.second),
                                       at(row.second, column.first), at(row.second, column.second)};
  if (is_float(x.dtype)) {
    const double upper = load_f64(x, from[0]) * (1.0 - column.fraction) + load_f64(x, from[1]) * column.fraction;
    const double lower = load_f64(x, from[2]) * (1.0 - column.fraction) + load_f64(x, from[3]) * column.fraction;
    store_f64(y, to, upper * (1.0 - row.fraction) + lower * row.fraction);
    return;
  }
  const int64_t zero = zero_point_of(x);
  const auto term = [&](size_t i) { return load_integer(x, from[i]) - zero; };
  const int64_t upper = term(0) * (HAI_RESIZE_ONE - column.weight) + term(1) * column.weight;
  const int64_t lower = term(2) * (HAI_RESIZE_ONE - column.weight) + term(3) * column.weight;
  const int64_t acc = upper * (HAI_RESIZE_ONE - row.weight) + lower * row.weight;
  const float multiplier = hai_multiplier_average(scale_of(x), scale_of(y), int64_t{HAI_RESIZE_ONE} * HAI_RESIZE_ONE);
  store_integer(y, to, requantized(x.dtype, y, acc, multiplier));
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& x = context.inputs[0];
  const MutableTensorView& y = context.outputs[0];
  const Geometry geometry = geometry_of(context.node, x.dims, y.dims);
  int64_t next = 0;
  for_each_index(y.dims, [&](const Index& out) {
    if (geometry.linear) {
      linear_element(x, y, geometry, out, next++);
      return;
    }
    const int64_t row = resize_nearest_index(geometry.axis[0], geometry.rounding, out[1]);
    const int64_t column = resize_nearest_index(geometry.axis[1], geometry.rounding, out[2]);
    move_element(y, next++, x, ((out[0] * x.dims[1] + row) * x.dims[2] + column) * x.dims[3] + out[3]);
  });
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  const bool linear = context.node.string_attribute("mode", "nearest") == "linear";
  return {0, context.outputs[0].count() * (linear ? 8 : 1)};
}

std::vector<Sample> samples(const OpSchema&) {
  using Ints = std::vector<int64_t>;
  using Floats = std::vector<double>;
  const Quantization scale = per_tensor_quantization(0.05F, -7);
  std::vector<Sample> out;
  const auto add = [&](std::string name, DataType dtype, Shape shape, ir::Attributes attributes) {
    SampleInput x = sample_input(dtype, std::move(shape));
    if (contains(kQuantizedTypes, dtype))
      x.type.quantization = dtype == DataType::kU8 ? per_tensor_quantization(0.02F, 100) : scale;
    Sample sample = make_sample(std::move(name), {std::move(x)}, std::move(attributes));
    const bool linear = std::get<std::string>(sample.attributes["mode"]) == "linear";
    if (linear && contains(kQuantizedTypes, dtype)) {
      sample = declaring(std::move(sample), dtype, per_tensor_quantization(0.04F, 12));
    }
    sample.tolerance = dtype == DataType::kF16 ? 1e-3 : 1e-5;
    out.push_back(std::move(sample));
  };
  const std::string nearest = "nearest";
  const std::string linear = "linear";
  const ir::Attribute twice = Floats{2.0, 2.0};
  add("nearest_twice", DataType::kF32, {1, 13, 19, 16},
      {{"mode", nearest},
       {"scales", twice},
       {"coordinates", std::string("asymmetric")},
       {"nearest", std::string("floor")}});
  add("nearest_sizes", DataType::kF32, {2, 13, 19, 3}, {{"mode", nearest}, {"sizes", Ints{7, 29}}});
  add("nearest_ceil", DataType::kF32, {1, 7, 5, 3},
      {{"mode", nearest},
       {"sizes", Ints{19, 13}},
       {"nearest", std::string("ceil")},
       {"coordinates", std::string("align_corners")}});
  add("nearest_prefer_ceil", DataType::kF32, {1, 8, 8, 1},
      {{"mode", nearest}, {"sizes", Ints{4, 4}}, {"nearest", std::string("round_prefer_ceil")}});
  add("nearest_i8", DataType::kI8, {1, 13, 19, 35}, {{"mode", nearest}, {"scales", twice}});
  add("nearest_u8", DataType::kU8, {1, 13, 19, 1}, {{"mode", nearest}, {"sizes", Ints{20, 20}}});
  add("linear_twice", DataType::kF32, {1, 13, 19, 16}, {{"mode", linear}, {"scales", twice}});
  add("linear_align_corners", DataType::kF32, {2, 7, 5, 3},
      {{"mode", linear}, {"sizes", Ints{13, 19}}, {"coordinates", std::string("align_corners")}});
  add("linear_asymmetric_down", DataType::kF32, {1, 19, 13, 5},
      {{"mode", linear}, {"scales", Floats{0.4, 0.7}}, {"coordinates", std::string("asymmetric")}});
  add("linear_to_one", DataType::kF32, {1, 7, 5, 3},
      {{"mode", linear}, {"sizes", Ints{1, 1}}, {"coordinates", std::string("pytorch_half_pixel")}});
  add("linear_large", DataType::kF32, {1, 63, 57, 19}, {{"mode", linear}, {"sizes", Ints{127, 113}}});
  add("linear_i8", DataType::kI8, {1, 13, 19, 35}, {{"mode", linear}, {"scales", twice}});
  add("linear_i8_sizes", DataType::kI8, {2, 13, 7, 3}, {{"mode", linear}, {"sizes", Ints{19, 5}}});
  add("linear_u8", DataType::kU8, {1, 13, 19, 16},
      {{"mode", linear}, {"sizes", Ints{26, 26}}, {"coordinates", std::string("align_corners")}});
  add("linear_i16", DataType::kI16, {1, 7, 5, 3}, {{"mode", linear}, {"scales", twice}});
  add("linear_f16", DataType::kF16, {1, 7, 5, 3}, {{"mode", linear}, {"scales", twice}});
  return out;
}

std::vector<OpSchema> make_schemas() {
  OpSchema schema;
  schema.name = "resize";
  schema.doc =
      "Height and width of x to other sizes. Output row i reads x at position p(i): half_pixel (i + 0.5) / s - 0.5, "
      "pytorch_half_pixel the same but 0 for a size of one, asymmetric i / s, align_corners i * (in - 1) / (out - 1); "
      "s "
      "is the scale given, else out / in. nearest rounds p; linear blends its two neighbours, clamped to the edge. "
      "Integers blend with weights in 1/2048.";
  schema.inputs = {{"x", "[N, H, W, C]"}};
  schema.outputs = {{"y", "[N, OH, OW, C]; linear on a quantized x needs a declared integer type"}};
  schema.attributes = {
      {"mode", AttributeKind::kString, "nearest (default) or linear"},
      {"sizes", AttributeKind::kInts, "output height and width; this or scales"},
      {"scales", AttributeKind::kFloats, "factors of height and width; the size is floor(in * scale)"},
      {"coordinates", AttributeKind::kString, "half_pixel (default), pytorch_half_pixel, asymmetric, align_corners"},
      {"nearest", AttributeKind::kString, "round_prefer_floor (default), round_prefer_ceil, floor, ceil"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"Resize", "Upsample"};
  std::vector<OpSchema> schemas;
  schemas.push_back(std::move(schema));
  return schemas;
}

}  // namespace

std::span<const OpSchema> resize_schemas();
std::span<const OpSchema> resize_schemas() {
  static const std::vector<OpSchema> schemas = make_schemas();
  return schemas;
}

}  // namespace hai::ops

// conv_transpose2d: the transpose of conv2d with respect to x; upsampling by learned filters.
//
// Layout NHWC, weights OHWI with I = C / groups. Each input pixel adds x * weights to a window of outputs; the
// reference gathers instead: output (i, j) sums the taps whose input position divides evenly. Integers sum exactly.
#include <fmt/format.h>

#include "ops/epilogue.h"
#include "ops/product_samples.h"

namespace hai::ops {
namespace {

constexpr int64_t kMaxExtent = 1 << 20;

struct TransposeAttributes {
  std::vector<int64_t> strides, pads, dilations, output_padding;
  int64_t groups = 1;
};

Result<TransposeAttributes> read_attributes(const ir::Node& node) {
  TransposeAttributes out;
  HAI_TRY(out.strides, bounded_ints(node, "strides", {1, 1}, 1, kMaxExtent));
  HAI_TRY(out.pads, bounded_ints(node, "pads", {0, 0, 0, 0}, 0, kMaxExtent));
  HAI_TRY(out.dilations, bounded_ints(node, "dilations", {1, 1}, 1, kMaxExtent));
  HAI_TRY(out.output_padding, bounded_ints(node, "output_padding", {0, 0}, 0, kMaxExtent));
  HAI_TRY(out.groups, bounded_int(node, "groups", 1, 1, kMaxExtent));
  return out;
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY(const TransposeAttributes attributes, read_attributes(context.node));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 4, 4));
  HAI_TRY_STATUS(require_rank(schema, context, 1, 4, 4));
  const Shape& x = input_type(context, 0).shape;
  const Shape& w = input_type(context, 1).shape;
  const bool fixed = is_static({x.begin() + 1, x.end()}) && is_static(w);
  const bool fits = fixed && w[0].value >= 1 && w[1].value >= 1 && w[2].value >= 1 && w[3].value >= 1 &&
                    w[3].value * attributes.groups == x[3].value && w[0].value % attributes.groups == 0 &&
                    w[1].value <= kMaxExtent && w[2].value <= kMaxExtent && x[1].value <= INT32_MAX &&
                    x[2].value <= INT32_MAX;
  if (!fits) {
    return make_error(StatusCode::kInvalidArgument, "O730",
                      "weights {} do not fit x {} with {} groups: they must be numbers [O, KH, KW, C / groups], O a "
                      "multiple of groups",
                      to_string(w, context.symbols), to_string(x, context.symbols), attributes.groups);
  }
  HAI_TRY_STATUS(check_product_types(schema, context, 0, w[0]));
  Shape shape = {x[0], 0, 0, w[0]};
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t size = x[axis + 1].value == 0
                             ? 0
                             : (x[axis + 1].value - 1) * attributes.strides[axis] - attributes.pads[axis] -
                                   attributes.pads[axis + 2] + attributes.dilations[axis] * (w[axis + 1].value - 1) +
                                   attributes.output_padding[axis] + 1;
    if (size < 1 || attributes.output_padding[axis] >= std::max(attributes.strides[axis], attributes.dilations[axis])) {
      return make_error(StatusCode::kInvalidArgument, "O731",
                        "axis {} of the output would have {} entries with output_padding {} (which must be smaller "
                        "than the stride or the dilation)",
                        axis + 1, size, attributes.output_padding[axis]);
    }
    shape[axis + 1] = size;
  }
  return infer_product_output(schema, context, std::move(shape));
}

// The input position that output `o` reads through tap `k`, or -1.
int64_t source(int64_t o, int64_t k, int64_t stride, int64_t pad, int64_t dilation, int64_t size) {
  const int64_t at = o + pad - k * dilation;
  return at >= 0 && at % stride == 0 && at / stride < size ? at / stride : -1;
}

template <typename T>
T window_sum(const std::vector<T>& x, const std::vector<T>& w, const Dims& x_dims, const Dims& w_dims,
             const TransposeAttributes& a, int64_t n, int64_t oy, int64_t ox, int64_t o) {
  const int64_t depth = w_dims[3];
  const int64_t group = o / (w_dims[0] / a.groups);
  T total = 0;
  for (int64_t ky = 0; ky < w_dims[1]; ++ky) {
    const int64_t y = source(oy, ky, a.strides[0], a.pads[0], a.dilations[0], x_dims[1]);
    if (y < 0) continue;
    for (int64_t kx = 0; kx < w_dims[2]; ++kx) {
      const int64_t column = source(ox, kx, a.strides[1], a.pads[1], a.dilations[1], x_dims[2]);
      if (column < 0) continue;
      const T* from = &x[static_cast<size_t>(((n * x_dims[1] + y) * x_dims[2] + column) * x_dims[3] + group * depth)];
      const T* with = &w[static_cast<size_t>(((o * w_dims[1] + ky) * w_dims[2] + kx) * depth)];
      for (int64_t c = 0; c < depth; ++c) total += from[c] * with[c];
    }
  }
  return total;
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  HAI_TRY(const TransposeAttributes attributes, read_attributes(context.node));
  const TensorView& x = context.inputs[0];
  const TensorView& w = context.inputs[1];
  const Dims& y = context.outputs[0].dims;
  HAI_TRY(const ReferenceEpilogue epilogue, ReferenceEpilogue::make(context, y[3], TensorView{}));
  const bool floats = is_float(x.dtype);
  const std::vector<double> xf = floats ? load_all_f64(x) : std::vector<double>{};
  const std::vector<double> wf = floats ? load_real_weights(w) : std::vector<double>{};
  const std::vector<int64_t> xi = floats ? std::vector<int64_t>{} : load_centred(x, -1);
  const std::vector<int64_t> wi = floats ? std::vector<int64_t>{} : load_centred(w, 0);
  int64_t element = 0;
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t oy = 0; oy < y[1]; ++oy) {
      for (int64_t ox = 0; ox < y[2]; ++ox) {
        for (int64_t o = 0; o < y[3]; ++o, ++element) {
          if (floats) {
            epilogue.store_float(element, o, window_sum(xf, wf, x.dims, w.dims, attributes, n, oy, ox, o));
          } else {
            HAI_TRY_STATUS(
                epilogue.store_integer_sum(element, o, window_sum(xi, wi, x.dims, w.dims, attributes, n, oy, ox, o)));
          }
        }
      }
    }
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  const Dims& x = context.inputs[0];
  const Dims& w = context.inputs[1];
  return {x.count() / std::max<int64_t>(x[3], 1) * w.count(), context.outputs[0].count()};
}

struct Geometry {
  const char* name;
  int64_t n, h, w, c, o, k, stride, pad, dilation, output_padding, groups;
};

Sample make_sample(const Geometry& g, const std::string& suffix, const ProductTypes& types,
                   const EpilogueSample& epilogue) {
  const auto size = [&](int64_t in) {
    return (in - 1) * g.stride - 2 * g.pad + g.dilation * (g.k - 1) + g.output_padding + 1;
  };
  Sample sample = product_sample(
      g.name + suffix, types, {g.n, g.h, g.w, g.c}, {g.o, g.k, g.k, g.c / g.groups}, {g.n, size(g.h), size(g.w), g.o},
      0, std::max<int64_t>(1, g.k * g.k * (g.c / g.groups) / (g.stride * g.stride)), epilogue, false);
  sample.attributes["strides"] = std::vector<int64_t>{g.stride, g.stride};
  sample.attributes["pads"] = std::vector<int64_t>{g.pad, g.pad, g.pad, g.pad};
  sample.attributes["dilations"] = std::vector<int64_t>{g.dilation, g.dilation};
  sample.attributes["output_padding"] = std::vector<int64_t>{g.output_padding, g.output_padding};
  sample.attributes["groups"] = g.groups;
  return sample;
}

std::vector<Sample> samples(const OpSchema&) {
  constexpr ProductTypes kFloat{};
  constexpr ProductTypes kInt8{DataType::kI8, DataType::kI8, DataType::kI8, true, true};
  constexpr ProductTypes kUint8{DataType::kU8, DataType::kU8, DataType::kI8, true, true};
  const Geometry geometries[] = {
      {"unet_2x2_stride2", 1, 7, 9, 20, 13, 2, 2, 0, 1, 0, 1},
      {"4x4_stride2", 1, 6, 5, 16, 33, 4, 2, 1, 1, 0, 1},
      {"3x3_stride2_output_padding", 2, 5, 7, 8, 9, 3, 2, 1, 1, 1, 1},
      {"3x3_dilation3_output_padding2", 2, 4, 5, 4, 6, 3, 1, 1, 3, 2, 2},
      {"3x3_stride1", 1, 9, 13, 5, 7, 3, 1, 1, 1, 0, 1},
      {"2x2_stride3_gaps", 1, 4, 5, 6, 5, 2, 3, 0, 1, 0, 1},
      {"3x3_stride2_dilated2", 1, 5, 5, 6, 4, 3, 2, 2, 2, 0, 1},
      {"3x3_stride2_dilated3", 1, 5, 6, 4, 4, 3, 2, 1, 3, 1, 1},
      {"5x5_stride4", 1, 4, 3, 3, 4, 5, 4, 2, 1, 3, 1},
      {"grouped", 1, 5, 5, 8, 12, 3, 2, 1, 1, 0, 4},
      {"depthwise", 1, 5, 7, 9, 9, 4, 2, 1, 1, 0, 9},
      {"one_pixel", 1, 1, 1, 19, 6, 3, 2, 1, 1, 0, 1},
  };
  std::vector<Sample> out;
  for (const Geometry& g : geometries) {
    out.push_back(make_sample(g, "_f32", kFloat, {}));
    out.push_back(make_sample(g, "_i8", kInt8, {}));
    out.push_back(make_sample(g, "_u8", kUint8, {}));
  }
  for (const char* activation : {"relu", "clip", "silu"}) {
    const std::string name = "_" + std::string(activation);
    out.push_back(make_sample(geometries[2], name + "_f32", kFloat, {activation, false, "none"}));
    out.push_back(make_sample(geometries[2], name + "_i8", kInt8, {activation, false, "none"}));
  }
  for (const Geometry& g : geometries) {
    out.push_back(make_sample(g, "_i16", {DataType::kI16, DataType::kI16, DataType::kI8, true, true}, {}));
    out.push_back(make_sample(g, "_i16_i16", {DataType::kI16, DataType::kI16, DataType::kI16, true, true}, {}));
  }
  out.push_back(make_sample(geometries[2], "_i4", {DataType::kI8, DataType::kI8, DataType::kI4, true, true}, {}));
  out.push_back(
      make_sample(geometries[2], "_f32_u4", {DataType::kF32, DataType::kF32, DataType::kU4, true, true, true}, {}));
  out.push_back(
      make_sample(geometries[2], "_u8_u8", {DataType::kU8, DataType::kU8, DataType::kU8, true, true, true}, {}));
  out.push_back(
      make_sample(geometries[2], "_i16_to_f32", {DataType::kI16, DataType::kF32, DataType::kI16, true, true}, {}));
  out.push_back(make_sample(geometries[2], "_i16_silu", {DataType::kI16, DataType::kI16, DataType::kI16, true, true},
                            {"silu", false, "none"}));
  out.push_back(
      make_sample(geometries[2], "_i8_to_f32", {DataType::kI8, DataType::kF32, DataType::kI8, true, true}, {}));
  out.push_back(make_sample(geometries[2], "_f64", {DataType::kF64, DataType::kF64, DataType::kF64, true, true}, {}));
  for (const Geometry& g : geometries) {
    out.push_back(make_sample(g, "_f32_variable", kFloat, {}));
    for (SampleInput& input : out.back().inputs) input.constant = false;
  }
  out.push_back(make_sample(geometries[2], "_f32_variable_silu", kFloat, {"silu", false, "none"}));
  for (SampleInput& input : out.back().inputs) input.constant = false;
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "conv_transpose2d";
  schema.doc =
      "y[n, i s - p + ky d, j s - p + kx d, o] += x[n, i, j, c] weights[o, ky, kx, c], then bias and activation. The "
      "output has (H - 1) s - pads + d (KH - 1) + output_padding + 1 rows. Integers sum exactly "
      "(docs/reference/arithmetic.md).";
  schema.inputs = {
      {"x", "[N, H, W, C]: float, or i8, u8, i16 with one scale"},
      {"weights",
       "[O, KH, KW, C / groups]: x's float type; or i8, i4, u8, u4 (x an integer or f32) or i16 (x i16) with a "
       "scale per entry of O"},
      {"bias", "[O]: float, or i32 (i64 for i16) with scale s_x s_w", true}};
  schema.outputs = {{"y", "[N, OH, OW, O]; a quantized x needs a declared integer type, or f32"}};
  schema.attributes = {{"strides", AttributeKind::kInts, "[rows, columns], default [1, 1]"},
                       {"pads", AttributeKind::kInts, "[top, left, bottom, right] cut off the output, default 0"},
                       {"dilations", AttributeKind::kInts, "[rows, columns], default [1, 1]"},
                       {"output_padding", AttributeKind::kInts, "[rows, columns] more at the end, default [0, 0]"},
                       {"groups", AttributeKind::kInt, "default 1"}};
  for (AttributeSpec& spec : epilogue_attributes(false)) schema.attributes.push_back(spec);
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"ConvTranspose"};
  return schema;
}

}  // namespace

std::span<const OpSchema> conv_transpose2d_schemas();
std::span<const OpSchema> conv_transpose2d_schemas() {
  static const OpSchema schema = make_schema();
  return {&schema, 1};
}

}  // namespace hai::ops

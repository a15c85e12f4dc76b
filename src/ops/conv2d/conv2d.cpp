// conv2d: two-dimensional convolution, grouped and depthwise included, with the fused epilogue of ops/epilogue.h.
//
// Layout NHWC, weights OHWI. Integers: acc = bias + sum (q_x - z_x) * (q_w - z_w), exact; padding contributes 0 (the
// real zero). The reference is the six nested loops of the definition; samples are in conv2d_samples.cpp.
#include "ops/conv2d/conv2d.h"

#include "ops/epilogue.h"

namespace hai::ops {
namespace {

constexpr int64_t kMaxExtent = 1 << 20;

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY(const ConvAttributes attributes, read_conv_attributes(context.node));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 4, 4));
  HAI_TRY_STATUS(require_rank(schema, context, 1, 4, 4));
  const Shape& w = input_type(context, 1).shape;
  HAI_TRY(Shape shape, conv_output_shape(input_type(context, 0).shape, w, attributes, context.symbols));
  HAI_TRY_STATUS(check_product_types(schema, context, 0, w[0]));
  return infer_product_output(schema, context, std::move(shape), 3);
}

// Sums over one window. `x` and `w` are whole tensors, T is double, int64_t, or float for f16.
template <typename T>
struct Window {
  const std::vector<T>& x;
  const std::vector<T>& w;
  const Dims& x_dims;
  const Dims& w_dims;
  const ConvAttributes& attributes;

  T sum(int64_t n, int64_t oy, int64_t ox, int64_t o, T start = 0) const {
    const int64_t depth = w_dims[3];
    const int64_t group = o / (w_dims[0] / attributes.groups);
    T total = start;
    for (int64_t ky = 0; ky < w_dims[1]; ++ky) {
      const int64_t y = oy * attributes.strides[0] - attributes.pads[0] + ky * attributes.dilations[0];
      if (y < 0 || y >= x_dims[1]) continue;
      for (int64_t kx = 0; kx < w_dims[2]; ++kx) {
        const int64_t column = ox * attributes.strides[1] - attributes.pads[1] + kx * attributes.dilations[1];
        if (column < 0 || column >= x_dims[2]) continue;
        const T* from = &x[static_cast<size_t>(((n * x_dims[1] + y) * x_dims[2] + column) * x_dims[3] + group * depth)];
        const T* with = &w[static_cast<size_t>(((o * w_dims[1] + ky) * w_dims[2] + kx) * depth)];
        for (int64_t c = 0; c < depth; ++c) total += from[c] * with[c];
      }
    }
    return total;
  }
};

// f16: sums of f32 in the order of the loops (docs/reference/arithmetic.md).
Status reference_of_halves(const ReferenceContext& context, const ConvAttributes& attributes,
                           const ReferenceEpilogue& epilogue) {
  const std::vector<float> x = load_all_f32(context.inputs[0]);
  const std::vector<float> w = load_all_f32(context.inputs[1]);
  const Dims& y = context.outputs[0].dims;
  const Window<float> window{x, w, context.inputs[0].dims, context.inputs[1].dims, attributes};
  int64_t element = 0;
  for_each_index(y, [&](const Index& at) {
    epilogue.store_half(element++, window.sum(at[0], at[1], at[2], at[3], epilogue.half_start(at[3])));
  });
  return {};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  HAI_TRY(const ConvAttributes attributes, read_conv_attributes(context.node));
  const TensorView& x = context.inputs[0];
  const TensorView& w = context.inputs[1];
  const Dims& y = context.outputs[0].dims;
  HAI_TRY(const ReferenceEpilogue epilogue, ReferenceEpilogue::make(context, y[3], context.inputs[3]));
  if (x.dtype == DataType::kF16) return reference_of_halves(context, attributes, epilogue);
  const bool floats = is_float(x.dtype);
  const std::vector<double> xf = floats ? load_all_f64(x) : std::vector<double>{};
  const std::vector<double> wf = floats ? load_real_weights(w) : std::vector<double>{};
  const std::vector<int64_t> xi = floats ? std::vector<int64_t>{} : load_centred(x, -1);
  const std::vector<int64_t> wi = floats ? std::vector<int64_t>{} : load_centred(w, 0);
  const Window<double> in_floats{xf, wf, x.dims, w.dims, attributes};
  const Window<int64_t> in_integers{xi, wi, x.dims, w.dims, attributes};
  int64_t element = 0;
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t oy = 0; oy < y[1]; ++oy) {
      for (int64_t ox = 0; ox < y[2]; ++ox) {
        for (int64_t o = 0; o < y[3]; ++o, ++element) {
          if (floats) {
            epilogue.store_float(element, o, in_floats.sum(n, oy, ox, o));
          } else {
            HAI_TRY_STATUS(epilogue.store_integer_sum(element, o, in_integers.sum(n, oy, ox, o)));
          }
        }
      }
    }
  }
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  const Dims& w = context.inputs[1];
  const int64_t outputs = context.outputs[0].count();
  const bool residual = context.inputs.size() > 3 && context.inputs[3].rank > 0;
  return {outputs * w[1] * w[2] * w[3], residual ? 2 * outputs : outputs};
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "conv2d";
  schema.doc =
      "y[n, i, j, o] = f(bias[o] + sum over (ky, kx, c) of x[n, i s - p + ky d, j s - p + kx d, c] weights[o, ky, kx, "
      "c]) with f the epilogue: residual_activation(activation(...) + residual). Groups split channels of x and "
      "outputs; groups == C is a depthwise convolution. Integers sum exactly, f16 in a "
      "stated order (docs/reference/arithmetic.md).";
  schema.inputs = {
      {"x", "[N, H, W, C]: float, or i8, u8, i16 with one scale"},
      {"weights",
       "[O, KH, KW, C / groups]: x's float type; or i8, i4, u8, u4 (x an integer or f32) or i16 (x i16) with a "
       "scale per entry of O"},
      {"bias", "[O]: x's float type, or f32 where x is f16, or i32 (i64 for i16) with scale s_x s_w", true},
      {"residual", "[N, OH, OW, O]: added after the activation", true}};
  schema.outputs = {{"y", "[N, OH, OW, O]; a quantized x needs a declared integer type, or f32"}};
  schema.attributes = {{"strides", AttributeKind::kInts, "[rows, columns], default [1, 1]"},
                       {"pads", AttributeKind::kInts, "[top, left, bottom, right], default 0"},
                       {"dilations", AttributeKind::kInts, "[rows, columns], default [1, 1]"},
                       {"groups", AttributeKind::kInt, "default 1"}};
  for (AttributeSpec& spec : epilogue_attributes(true)) schema.attributes.push_back(spec);
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = conv2d_samples;
  schema.onnx_names = {"Conv"};
  return schema;
}

}  // namespace

Result<ConvAttributes> read_conv_attributes(const ir::Node& node) {
  ConvAttributes out;
  HAI_TRY(out.strides, bounded_ints(node, "strides", {1, 1}, 1, kMaxExtent));
  HAI_TRY(out.pads, bounded_ints(node, "pads", {0, 0, 0, 0}, 0, kMaxExtent));
  HAI_TRY(out.dilations, bounded_ints(node, "dilations", {1, 1}, 1, kMaxExtent));
  HAI_TRY(out.groups, bounded_int(node, "groups", 1, 1, kMaxExtent));
  return out;
}

Result<Shape> conv_output_shape(const Shape& x, const Shape& w, const ConvAttributes& attributes,
                                std::span<const Symbol> symbols) {
  if (!is_static({x.begin() + 1, x.end()}) || !is_static(w)) {
    return make_error(StatusCode::kUnsupported, "O710",
                      "height, width, channels and weights must be numbers: x is {}, "
                      "weights are {}; bind the symbols (--dim)",
                      to_string(x, symbols), to_string(w, symbols));
  }
  const bool empty = w[0].value < 1 || w[1].value < 1 || w[2].value < 1 || w[3].value < 1;
  const bool fits = !empty && w[3].value * attributes.groups == x[3].value && w[0].value % attributes.groups == 0 &&
                    w[1].value <= kMaxExtent && w[2].value <= kMaxExtent && x[1].value <= INT32_MAX &&
                    x[2].value <= INT32_MAX;
  if (!fits) {
    return make_error(StatusCode::kInvalidArgument, "O711",
                      "weights {} do not fit x {} with {} groups: they must be [O, KH, KW, C / groups], O a multiple "
                      "of groups",
                      to_string(w, symbols), to_string(x, symbols), attributes.groups);
  }
  Shape shape = {x[0], 0, 0, w[0]};
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t window = attributes.dilations[axis] * (w[axis + 1].value - 1) + 1;
    const int64_t room = x[axis + 1].value + attributes.pads[axis] + attributes.pads[axis + 2] - window;
    if (room < 0) {
      return make_error(StatusCode::kInvalidArgument, "O712",
                        "a window of {} does not fit into {} + {} + {} (size and pads of axis {})", window,
                        x[axis + 1].value, attributes.pads[axis], attributes.pads[axis + 2], axis + 1);
    }
    shape[axis + 1] = room / attributes.strides[axis] + 1;
  }
  return shape;
}

std::span<const OpSchema> conv2d_schemas();
std::span<const OpSchema> conv2d_schemas() {
  static const OpSchema schema = make_schema();
  return {&schema, 1};
}

}  // namespace hai::ops

// winograd_conv2d: 3x3 convolution of stride 1 by F(2x2, 3x3) or F(4x4, 3x3), with conv2d's epilogue.
//
// Integers: tap-wise quantization (Andri et al., MICRO 2022), an arithmetic of its own (types/winograd.h) that is not
// conv2d's; the quantizer chooses it from cost and measured error. A graph whose sums could reach 2^53 is refused
// from shapes and shifts alone, since weights need not be constants. The reference goes tile by tile: integers in i64,
// f16 in f32 in the stated order, other floats in f64. Samples are in winograd_conv2d_samples.cpp.
#include "ops/winograd_conv2d/winograd_conv2d.h"

#include <array>
#include <cmath>

#include "ops/epilogue.h"
#include "types/winograd.h"

namespace hai::ops {
namespace {

constexpr int64_t kMaxPad = 2;

// Operands and shapes: x [N, H, W, C], weights [O, side, side, C].
Status check_operands(const OpSchema& schema, const InferContext& context, int64_t tile) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes | kQuantized8));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 4, 4));
  HAI_TRY_STATUS(require_rank(schema, context, 1, 4, 4));
  const ir::TensorType& x = input_type(context, 0);
  const ir::TensorType& w = input_type(context, 1);
  if (!is_static({x.shape.begin() + 1, x.shape.end()}) || !is_static(w.shape)) {
    return make_error(StatusCode::kUnsupported, "O740",
                      "height, width, channels and weights must be numbers: x is {}, weights are {}; bind the symbols "
                      "(--dim)",
                      to_string(x.shape, context.symbols), to_string(w.shape, context.symbols));
  }
  const int64_t side = tile + 2;
  const bool fits = w.shape[0].value >= 1 && w.shape[1].value == side && w.shape[2].value == side &&
                    w.shape[3] == x.shape[3] && w.shape[3].value >= 1 && x.shape[1].value <= INT32_MAX &&
                    x.shape[2].value <= INT32_MAX;
  if (!fits) {
    return make_error(StatusCode::kInvalidArgument, "O741",
                      "taps {} do not fit x {} with tiles of {}: they must be [O, {}, {}, C]",
                      to_string(w.shape, context.symbols), to_string(x.shape, context.symbols), tile, side, side);
  }
  if (is_float(x.dtype)) return require_same_dtype(schema, context, 1, 0);
  HAI_TRY_STATUS(require_dtype(schema, context, 1, set_of({DataType::kI8})));
  if (w.quantization.has_value()) {
    for (const int32_t zero_point : w.quantization->zero_points) {
      if (zero_point != 0) {
        return make_error(StatusCode::kUnsupported, "O742", "taps must be symmetric, there is a zero point of {}",
                          zero_point);
      }
    }
  }
  return {};
}

// M[t] within i32 and |acc| + |bias| below 2^53, whatever x, weights and bias hold.
Status check_sums(const WinogradAttributes& attributes, int64_t channels) {
  const auto taps = static_cast<int32_t>(attributes.input_shifts.size());
  std::array<int32_t, HAI_WINOGRAD_MAX_TAPS> e{};
  hai_winograd_exponents(taps, attributes.input_shifts.data(), attributes.weight_shifts.data(), e.data());
  const double product = static_cast<double>(channels) * HAI_WINOGRAD_MAX_TAP_PRODUCT;
  std::array<double, HAI_WINOGRAD_MAX_TAPS> largest{};
  largest.fill(product);
  const double bound = hai_winograd_sum_bound(static_cast<int>(attributes.tile), largest.data(), e.data());
  const double bias = 2147483648.0;
  if (product < 2147483648.0 && bound + bias < HAI_WINOGRAD_SUM_LIMIT) return {};
  return make_error(StatusCode::kOutOfRange, "O743",
                    "sums over {} channels may reach {:.0f} a tap and {:.0f} an output: shifts and channels must keep "
                    "them below 2^31 and 2^53",
                    channels, product, bound);
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  const bool integer = is_integer(input_type(context, 0).dtype);
  HAI_TRY(const WinogradAttributes attributes, winograd_attributes(context.node, integer));
  HAI_TRY_STATUS(check_operands(schema, context, attributes.tile));
  const Shape& x = input_type(context, 0).shape;
  const Shape& w = input_type(context, 1).shape;
  HAI_TRY_STATUS(check_product_types(schema, context, 0, w[0]));
  if (integer) HAI_TRY_STATUS(check_sums(attributes, w[3].value));
  Shape shape = {x[0], 0, 0, w[0]};
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t room = x[axis + 1].value + attributes.pads[axis] + attributes.pads[axis + 2] - 3;
    if (room < 0) {
      return make_error(StatusCode::kInvalidArgument, "O744",
                        "a window of 3 does not fit into {} + {} + {} (size and pads of axis {})", x[axis + 1].value,
                        attributes.pads[axis], attributes.pads[axis + 2], axis + 1);
    }
    shape[axis + 1] = room + 1;
  }
  return infer_product_output(schema, context, std::move(shape), 3);
}

// One image position of tiles: what the transforms and products need. T is int64_t, double, or float for f16.
template <typename T>
struct Tiles {
  const std::vector<T>& x;
  const std::vector<T>& taps;
  const Dims& x_dims;
  int tile;
  int64_t pad_top, pad_left;
  std::vector<T> transformed;  // [C][side * side] of one tile

  int64_t side() const { return tile + 2; }

  T at(int64_t n, int64_t row, int64_t column, int64_t c) const {
    if (row < 0 || column < 0 || row >= x_dims[1] || column >= x_dims[2]) return 0;
    return x[static_cast<size_t>(((n * x_dims[1] + row) * x_dims[2] + column) * x_dims[3] + c)];
  }

  // B^T d B of every channel; finish(t, v) is what is kept of tap t.
  template <typename Transform, typename Finish>
  void transform(int64_t n, int64_t tile_row, int64_t tile_column, Transform input, Finish finish) {
    const int64_t count = side() * side();
    transformed.resize(static_cast<size_t>(x_dims[3] * count));
    for (int64_t c = 0; c < x_dims[3]; ++c) {
      T* d = &transformed[static_cast<size_t>(c * count)];
      for (int64_t t = 0; t < count; ++t) {
        d[t] = at(n, tile_row * tile - pad_top + t / side(), tile_column * tile - pad_left + t % side(), c);
      }
      input(tile, d);
      for (int64_t t = 0; t < count; ++t) d[t] = finish(t, d[t]);
    }
  }

  // M[t] of output channel o.
  T product(int64_t o, int64_t t) const {
    const int64_t count = side() * side();
    T sum = 0;
    for (int64_t c = 0; c < x_dims[3]; ++c) {
      sum +=
          taps[static_cast<size_t>((o * count + t) * x_dims[3] + c)] * transformed[static_cast<size_t>(c * count + t)];
    }
    return sum;
  }
};

// Calls tile(n, row, column) for each tile of the output.
template <typename Body>
Status for_each_tile(const Dims& y, int64_t tile, Body&& body) {
  for (int64_t n = 0; n < y[0]; ++n) {
    for (int64_t row = 0; row * tile < y[1]; ++row) {
      for (int64_t column = 0; column * tile < y[2]; ++column) HAI_TRY_STATUS(body(n, row, column));
    }
  }
  return {};
}

// Hands the values of a tile that lie inside the output to store(element, value).
template <typename T, typename Store>
Status store_tile(const Dims& y, int64_t tile, int64_t n, int64_t row, int64_t column, int64_t o,
                  const std::array<T, 16>& values, Store&& store) {
  for (int64_t i = 0; i < tile * tile; ++i) {
    const int64_t oy = row * tile + i / tile;
    const int64_t ox = column * tile + i % tile;
    if (oy >= y[1] || ox >= y[2]) continue;
    HAI_TRY_STATUS(store(((n * y[1] + oy) * y[2] + ox) * y[3] + o, values[static_cast<size_t>(i)]));
  }
  return {};
}

Status integer_reference(const ReferenceContext& context, const WinogradAttributes& attributes) {
  const TensorView& x = context.inputs[0];
  const Dims& y = context.outputs[0].dims;
  const int tile = static_cast<int>(attributes.tile);
  const auto taps = static_cast<int32_t>(attributes.input_shifts.size());
  std::array<int32_t, HAI_WINOGRAD_MAX_TAPS> e{};
  const int32_t base =
      hai_winograd_exponents(taps, attributes.input_shifts.data(), attributes.weight_shifts.data(), e.data());
  HAI_TRY(const ReferenceEpilogue epilogue,
          ReferenceEpilogue::make(context, y[3], context.inputs[3], {hai_winograd_power(base), true}));
  const std::vector<int64_t> centred = load_centred(x, -1);
  const std::vector<int64_t> weights = load_all_integers(context.inputs[1]);
  Tiles<int64_t> tiles{centred, weights, x.dims, tile, attributes.pads[0], attributes.pads[1], {}};
  return for_each_tile(y, tile, [&](int64_t n, int64_t row, int64_t column) -> Status {
    tiles.transform(n, row, column, hai_winograd_input_s64, [&](int64_t t, int64_t v) -> int64_t {
      return hai_winograd_requantize(static_cast<int32_t>(v),
                                     static_cast<int32_t>(attributes.input_shifts[static_cast<size_t>(t)]));
    });
    for (int64_t o = 0; o < y[3]; ++o) {
      std::array<int64_t, HAI_WINOGRAD_MAX_TAPS> m{};
      for (int64_t t = 0; t < taps; ++t) {
        m[static_cast<size_t>(t)] = tiles.product(o, t) * (int64_t{1} << e[static_cast<size_t>(t)]);
      }
      std::array<int64_t, 16> values{};
      hai_winograd_output_s64(tile, m.data(), values.data());
      HAI_TRY_STATUS(store_tile(y, tile, n, row, column, o, values, [&](int64_t element, int64_t sum) {
        return epilogue.store_integer_sum(element, o, sum);
      }));
    }
    return {};
  });
}

Status float_reference(const ReferenceContext& context, const WinogradAttributes& attributes) {
  const TensorView& x = context.inputs[0];
  const Dims& y = context.outputs[0].dims;
  const int tile = static_cast<int>(attributes.tile);
  HAI_TRY(const ReferenceEpilogue epilogue, ReferenceEpilogue::make(context, y[3], context.inputs[3]));
  const std::vector<double> values = load_all_f64(x);
  const std::vector<double> weights = load_all_f64(context.inputs[1]);
  Tiles<double> tiles{values, weights, x.dims, tile, attributes.pads[0], attributes.pads[1], {}};
  return for_each_tile(y, tile, [&](int64_t n, int64_t row, int64_t column) -> Status {
    tiles.transform(n, row, column, hai_winograd_input_f64, [](int64_t, double v) { return v; });
    for (int64_t o = 0; o < y[3]; ++o) {
      std::array<double, HAI_WINOGRAD_MAX_TAPS> m{};
      for (int64_t t = 0; t < tiles.side() * tiles.side(); ++t) m[static_cast<size_t>(t)] = tiles.product(o, t);
      std::array<double, 16> out{};
      hai_winograd_output_f64(tile, m.data(), out.data());
      HAI_TRY_STATUS(store_tile(y, tile, n, row, column, o, out, [&](int64_t element, double sum) -> Status {
        epilogue.store_float(element, o, sum);
        return {};
      }));
    }
    return {};
  });
}

// f16: sums of f32 in the order of the loops, of transformed inputs that are rounded to f16.
Status half_reference(const ReferenceContext& context, const WinogradAttributes& attributes) {
  const TensorView& x = context.inputs[0];
  const Dims& y = context.outputs[0].dims;
  const int tile = static_cast<int>(attributes.tile);
  HAI_TRY(const ReferenceEpilogue epilogue, ReferenceEpilogue::make(context, y[3], context.inputs[3]));
  const std::vector<float> values = load_all_f32(x);
  const std::vector<float> weights = load_all_f32(context.inputs[1]);
  Tiles<float> tiles{values, weights, x.dims, tile, attributes.pads[0], attributes.pads[1], {}};
  return for_each_tile(y, tile, [&](int64_t n, int64_t row, int64_t column) -> Status {
    tiles.transform(n, row, column, hai_winograd_input_f32, [](int64_t, float v) { return hai_winograd_round_f16(v); });
    for (int64_t o = 0; o < y[3]; ++o) {
      std::array<float, HAI_WINOGRAD_MAX_TAPS> m{};
      for (int64_t t = 0; t < tiles.side() * tiles.side(); ++t) m[static_cast<size_t>(t)] = tiles.product(o, t);
      std::array<float, 16> out{};
      hai_winograd_output_f32(tile, m.data(), out.data());
      HAI_TRY_STATUS(store_tile(y, tile, n, row, column, o, out, [&](int64_t element, float sum) -> Status {
        epilogue.store_half(element, sum + epilogue.half_start(o));
        return {};
      }));
    }
    return {};
  });
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const bool integer = is_integer(context.inputs[0].dtype);
  HAI_TRY(const WinogradAttributes attributes, winograd_attributes(context.node, integer));
  if (context.inputs[0].dtype == DataType::kF16) return half_reference(context, attributes);
  return integer ? integer_reference(context, attributes) : float_reference(context, attributes);
}

// The products that are made; the others are the transforms' additions and the epilogue.
Cost cost(const OpSchema&, const CostContext& context) {
  const Dims& w = context.inputs[1];
  const Dims& y = context.outputs[0];
  const int64_t tile = w[1] - 2;
  const int64_t tiles = y[0] * ((y[1] + tile - 1) / tile) * ((y[2] + tile - 1) / tile);
  const int64_t taps = w[1] * w[2];
  const bool residual = context.inputs.size() > 3 && context.inputs[3].rank > 0;
  const int64_t additions = 2 * taps * (tile == 2 ? 1 : 2);  // of one transform of one tile and channel
  return {tiles * taps * w[3] * w[0], tiles * additions * (w[3] + w[0]) + (residual ? 2 * y.count() : y.count())};
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "winograd_conv2d";
  schema.doc =
      "conv2d of 3x3 windows with stride 1 by tiles of tile x tile outputs (Winograd's F(2x2, 3x3) and F(4x4, 3x3)): y "
      "= "
      "f(bias[o] + A^T (sum over c of U[o, :, :, c] * V[c]) A) with V = B^T d B, d the (tile + 2) x (tile + 2) inputs "
      "of the tile, U = G g G^T the taps of the weights g, f conv2d's epilogue. Integers round V and U to 8 bits, each "
      "tap with a power of two of its own, and sum exactly; f16 rounds V to f16 and sums in f32 in a stated order: "
      "results are not conv2d's (docs/reference/arithmetic.md, \"Winograd\").";
  schema.inputs = {{"x", "[N, H, W, C]: float, or i8, u8 with one scale"},
                   {"weights",
                    "[O, tile + 2, tile + 2, C], transformed: x's float type; or i8, symmetric, with one scale or a "
                    "scale per entry of O, to be multiplied by 2^weight_shifts of the tap"},
                   {"bias",
                    "[O]: x's float type, or f32 where x is f16, or i32 with scale s_x s_w 2^base, base the least sum "
                    "of a tap's shifts",
                    true},
                   {"residual", "[N, OH, OW, O]: added after the activation", true}};
  schema.outputs = {{"y", "[N, OH, OW, O]; a quantized x needs a declared integer type, or f32"}};
  schema.attributes = {
      {"tile", AttributeKind::kInt, "outputs of a tile along an axis: 2 or 4", true},
      {"pads", AttributeKind::kInts, "[top, left, bottom, right], each 0 to 2, default 0"},
      {"input_shifts", AttributeKind::kInts,
       "integers: for each tap, row by row, the power of two that its transformed inputs are divided by, 0 to 15"},
      {"weight_shifts", AttributeKind::kInts,
       "integers: for each tap the power of two that its stored weights are to be multiplied by, -8 to 15"}};
  for (AttributeSpec& spec : epilogue_attributes(true)) {
    if (spec.name != "rounding") schema.attributes.push_back(spec);  // TensorFlow Lite has no such operator
  }
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = winograd_conv2d_samples;
  schema.explained_holes = {{"onnx", "made by the quantizer only"}, {"gradient", "made after differentiation"}};
  return schema;
}

}  // namespace

Result<WinogradAttributes> winograd_attributes(const ir::Node& node, bool integer) {
  WinogradAttributes out;
  HAI_TRY(out.tile, bounded_int(node, "tile", 0, 2, 4));
  if (out.tile == 3) {
    return make_error(StatusCode::kInvalidArgument, "O745", "attribute \"tile\" is 3: tiles of 2 or 4 are defined");
  }
  HAI_TRY(out.pads, bounded_ints(node, "pads", {0, 0, 0, 0}, 0, kMaxPad));
  const bool given = node.has_attribute("input_shifts") || node.has_attribute("weight_shifts");
  if (!integer) {
    if (!given) return out;
    return make_error(StatusCode::kInvalidArgument, "O746", "shifts of taps are for 8-bit x, this one is real");
  }
  if (!node.has_attribute("input_shifts") || !node.has_attribute("weight_shifts")) {
    return make_error(StatusCode::kInvalidArgument, "O747",
                      "8-bit x needs the attributes input_shifts and weight_shifts, one entry for each tap");
  }
  const auto taps = static_cast<size_t>((out.tile + 2) * (out.tile + 2));
  const std::vector<int64_t> zeros(taps, 0);
  HAI_TRY(out.input_shifts, bounded_ints(node, "input_shifts", zeros, 0, HAI_WINOGRAD_MAX_INPUT_SHIFT));
  HAI_TRY(out.weight_shifts,
          bounded_ints(node, "weight_shifts", zeros, HAI_WINOGRAD_MIN_WEIGHT_SHIFT, HAI_WINOGRAD_MAX_WEIGHT_SHIFT));
  return out;
}

std::span<const OpSchema> winograd_conv2d_schemas();
std::span<const OpSchema> winograd_conv2d_schemas() {
  static const OpSchema schema = make_schema();
  return {&schema, 1};
}

}  // namespace hai::ops

// matmul: matrix product over the last two axes, batched by broadcasting, with the fused epilogue of ops/epilogue.h.
//
// Integers: acc = bias + sum (q_a - z_a) * (q_b - z_b), exact, whether b is a constant or not. b is [..., K, N], or
// [..., N, K] with transpose_b; a scale per column belongs to the axis of N. Vectors are matrices of one row or column
// here (importers reshape).
#include <fmt/format.h>

#include "ops/epilogue.h"
#include "ops/product_samples.h"

namespace hai::ops {
namespace {

struct Sizes {
  Dim m, k, n;
  Shape batch;  // broadcast of the leading axes
};

Result<Sizes> read_sizes(const OpSchema& schema, const InferContext& context, bool transpose_b) {
  HAI_TRY_STATUS(require_rank(schema, context, 0, 2, kMaxRank));
  HAI_TRY_STATUS(require_rank(schema, context, 1, 2, kMaxRank));
  const Shape& a = input_type(context, 0).shape;
  const Shape& b = input_type(context, 1).shape;
  const Dim inner = b[b.size() - (transpose_b ? 1 : 2)];
  Sizes out{a[a.size() - 2], a.back(), b[b.size() - (transpose_b ? 2 : 1)], {}};
  const bool fits =
      out.k == inner && !out.k.is_symbolic() && !out.n.is_symbolic() && out.k.value >= 1 && out.n.value >= 1;
  if (!fits) {
    return make_error(StatusCode::kInvalidArgument, "O720",
                      "a {} and b {} do not multiply{}: the length of the sums must be one number, at least 1",
                      to_string(a, context.symbols), to_string(b, context.symbols),
                      transpose_b ? " (b transposed)" : "");
  }
  HAI_TRY(out.batch, broadcast_shapes({a.begin(), a.end() - 2}, {b.begin(), b.end() - 2}, context.symbols));
  return out;
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY(const int64_t transpose_b, bounded_int(context.node, "transpose_b", 0, 0, 1));
  HAI_TRY(const Sizes sizes, read_sizes(schema, context, transpose_b != 0));
  const int channel_axis = rank_of(input_type(context, 1)) - (transpose_b != 0 ? 2 : 1);
  const int block_axis = rank_of(input_type(context, 1)) - (transpose_b != 0 ? 1 : 2);
  HAI_TRY_STATUS(check_product_types(schema, context, channel_axis, sizes.n, block_axis));
  Shape shape = sizes.batch;
  shape.push_back(sizes.m);
  shape.push_back(sizes.n);
  return infer_product_output(schema, context, std::move(shape), 3);
}

Dims leading(const Dims& dims) { return Dims(dims.view().first(static_cast<size_t>(dims.rank - 2))); }

template <typename T>
T row_times_column(const std::vector<T>& a, int64_t row, const std::vector<T>& b, int64_t column, int64_t step,
                   int64_t k, T start = 0) {
  T total = start;
  for (int64_t i = 0; i < k; ++i) total += a[static_cast<size_t>(row + i)] * b[static_cast<size_t>(column + i * step)];
  return total;
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const TensorView& a = context.inputs[0];
  const TensorView& b = context.inputs[1];
  const Dims& y = context.outputs[0].dims;
  const bool transpose_b = context.node.int_attribute("transpose_b", 0) != 0;
  const int64_t m = a.dims[a.dims.rank - 2];
  const int64_t k = a.dims[a.dims.rank - 1];
  const int64_t n = y[y.rank - 1];
  HAI_TRY(const ReferenceEpilogue epilogue, ReferenceEpilogue::make(context, n, context.inputs[3]));
  const bool halves = a.dtype == DataType::kF16;
  const bool floats = is_float(a.dtype) && !halves;
  const std::vector<float> ah = halves ? load_all_f32(a) : std::vector<float>{};
  const std::vector<float> bh = halves ? load_all_f32(b) : std::vector<float>{};
  const bool integers = !is_float(a.dtype);
  const std::vector<double> af = floats ? load_all_f64(a) : std::vector<double>{};
  const std::vector<double> bf = floats ? load_real_weights(b) : std::vector<double>{};
  const std::vector<int64_t> ai = integers ? load_centred(a, -1) : std::vector<int64_t>{};
  const std::vector<int64_t> bi =
      integers ? load_centred(b, b.dims.rank - (transpose_b ? 2 : 1)) : std::vector<int64_t>{};
  const Dims batch = leading(y);
  const Index a_strides = broadcast_strides(leading(a.dims), batch);
  const Index b_strides = broadcast_strides(leading(b.dims), batch);
  int64_t element = 0;
  Status status;
  for_each_index(batch, [&](const Index& index) {
    const int64_t a_matrix = offset_of(index, a_strides, batch.rank) * m * k;
    const int64_t b_matrix = offset_of(index, b_strides, batch.rank) * k * n;
    for (int64_t i = 0; i < m && status; ++i) {
      for (int64_t j = 0; j < n && status; ++j, ++element) {
        const int64_t row = a_matrix + i * k;
        const int64_t column = b_matrix + (transpose_b ? j * k : j);
        const int64_t step = transpose_b ? 1 : n;
        if (halves) {
          epilogue.store_half(element, row_times_column(ah, row, bh, column, step, k, epilogue.half_start(j)));
        } else if (floats) {
          epilogue.store_float(element, j, row_times_column(af, row, bf, column, step, k));
        } else {
          status = epilogue.store_integer_sum(element, j, row_times_column(ai, row, bi, column, step, k));
        }
      }
    }
  });
  return status;
}

Cost cost(const OpSchema&, const CostContext& context) {
  const Dims& a = context.inputs[0];
  const int64_t outputs = context.outputs[0].count();
  return {outputs * a[a.rank - 1], outputs};
}

Sample make_sample(const std::string& name, const ProductTypes& types, Shape a, Shape b, bool transpose_b,
                   const EpilogueSample& epilogue, bool constant_b = true) {
  const int64_t k = a.back().value;
  Shape y(a.size() >= b.size() ? Shape{a.begin(), a.end() - 2} : Shape{b.begin(), b.end() - 2});
  y.push_back(a[a.size() - 2]);
  y.push_back(b[b.size() - (transpose_b ? 2 : 1)]);
  const int axis = static_cast<int>(b.size()) - (transpose_b ? 2 : 1);
  Sample sample = product_sample(name, types, std::move(a), std::move(b), std::move(y), axis, k, epilogue, true);
  sample.inputs[1].constant = constant_b;
  if (transpose_b) sample.attributes["transpose_b"] = int64_t{1};
  return sample;
}

// Products of two activations: zero points on both sides.
void add_varying_integers(std::vector<Sample>& out) {
  constexpr std::pair<DataType, DataType> kTypes[] = {{DataType::kI8, DataType::kI8},
                                                      {DataType::kU8, DataType::kI8},
                                                      {DataType::kI8, DataType::kU8},
                                                      {DataType::kI16, DataType::kI8},
                                                      {DataType::kI16, DataType::kU8}};
  for (const auto& [a, b] : kTypes) {
    ProductTypes types{a, a, b, false, false, true};
    const std::string type = fmt::format("_{}_{}", data_type_name(a), data_type_name(b));
    const auto add = [&](const std::string& name, Shape left, Shape right, bool transpose, const EpilogueSample& e) {
      out.push_back(make_sample(name + type, types, std::move(left), std::move(right), transpose, e, false));
    };
    add("both_vary", {2, 13, 19}, {2, 19, 33}, false, {});
    add("scores", {1, 3, 29, 20}, {1, 3, 50, 20}, true, {});
    add("one_column", {2, 7, 64}, {2, 64, 1}, false, {});
    add("broadcast_a", {1, 13, 19}, {3, 19, 7}, false, {});
    add("many_rows", {300, 160}, {160, 70}, false, {});
    types.bias = true;
    add("broadcast_b", {4, 13, 19}, {1, 19, 33}, false, {"gelu", true, "relu"});
    add("bias", {5, 127}, {35, 127}, true, {"relu6", false, "none"});
    types.weight_zero_points = false;
    add("symmetric_b", {2, 5, 24}, {2, 24, 16}, false, {"silu", false, "none"});
    types.y = DataType::kF32;
    add("to_f32", {2, 5, 19}, {2, 19, 7}, false, {});
  }
  constexpr ProductTypes kBytes{DataType::kI8, DataType::kI8, DataType::kI8, false, true, true};
  out.push_back(make_sample("constant_a_i8", kBytes, {13, 19}, {19, 33}, false, {"none", true, "none"}, false));
  out.back().inputs[0].constant = true;
  out.push_back(make_sample("constant_batch_i8", kBytes, {2, 13, 19}, {2, 19, 33}, false, {}));
  // The longest sums that fit whatever 8-bit operands hold, in one panel and more than one block of rows.
  out.push_back(make_sample("long_sums_vary_i8", {DataType::kI8, DataType::kI8, DataType::kI8, false, false, true},
                            {9, 33025}, {33025, 3}, false, {}, false));
  ProductTypes words = kBytes;
  words.y = DataType::kI16;
  words.wide_points = true;
  out.push_back(make_sample("i8_to_i16_vary", words, {2, 13, 19}, {2, 33, 19}, true, {"gelu", false, "none"}, false));
}

std::vector<Sample> samples(const OpSchema&) {
  constexpr ProductTypes kFloat{};
  constexpr ProductTypes kInt8{DataType::kI8, DataType::kI8, DataType::kI8, true, true};
  constexpr ProductTypes kUint8{DataType::kU8, DataType::kU8, DataType::kI8, true, true};
  constexpr ProductTypes kHalf{DataType::kF16, DataType::kF16, DataType::kF16, true, true};
  std::vector<Sample> out;
  for (const ProductTypes& types : {kFloat, kHalf, kInt8, kUint8}) {
    const std::string type = "_" + std::string(data_type_name(types.x));
    out.push_back(make_sample("one_row" + type, types, {1, 127}, {127, 35}, false, {}));
    out.push_back(make_sample("odd" + type, types, {13, 19}, {19, 33}, false, {}));
    out.push_back(make_sample("transposed" + type, types, {13, 19}, {33, 19}, true, {}));
    out.push_back(make_sample("one_column" + type, types, {19, 64}, {64, 1}, false, {}));
    out.push_back(make_sample("long_sums" + type, types, {3, 1280}, {1280, 100}, false, {}));
    out.push_back(make_sample("three_axes" + type, types, {2, 13, 24}, {24, 40}, false, {}));
    out.push_back(make_sample("four_axes" + type, types, {2, 3, 5, 16}, {17, 16}, true, {}));
    for (const char* activation : {"relu", "relu6", "clip", "silu", "gelu"}) {
      const std::string suffix = "_" + std::string(activation) + type;
      out.push_back(make_sample("odd" + suffix, types, {13, 19}, {19, 33}, false, {activation, false, "none"}));
      out.push_back(make_sample("odd_residual" + suffix, types, {13, 19}, {19, 33}, false, {activation, true, "relu"}));
    }
  }
  out.push_back(make_sample("both_vary_f32", {.bias = false}, {2, 13, 19}, {2, 19, 33}, false, {}, false));
  out.push_back(
      make_sample("both_vary_transposed_f32", {.bias = false}, {2, 3, 13, 20}, {2, 3, 50, 20}, true, {}, false));
  out.push_back(make_sample("broadcast_b_f32", {}, {4, 13, 19}, {1, 19, 33}, false, {"relu", true, "none"}, false));
  out.push_back(make_sample("broadcast_a_f32", {.bias = false}, {1, 13, 19}, {3, 19, 7}, false, {}, false));
  out.push_back(make_sample("constant_a_f32", {}, {13, 19}, {19, 33}, false, {"relu", true, "none"}, false));
  out.back().inputs[0].constant = true;
  out.push_back(make_sample("constant_batch_f32", {}, {3, 5, 19}, {3, 19, 33}, false, {"silu", false, "none"}));
  for (const DataType weights : {DataType::kI8, DataType::kI4, DataType::kI16}) {
    const ProductTypes types{DataType::kI16, DataType::kI16, weights, true, true};
    const std::string type = "_i16_" + std::string(data_type_name(weights));
    out.push_back(make_sample("odd" + type, types, {5, 19}, {19, 7}, false, {}));
    out.push_back(make_sample("one_row" + type, types, {1, 127}, {127, 35}, false, {}));
    out.push_back(make_sample("transposed" + type, types, {13, 19}, {33, 19}, true, {"gelu", true, "relu"}));
    out.push_back(make_sample("long_sums" + type, types, {3, 1280}, {1280, 100}, false, {}));
    out.push_back(make_sample("three_axes" + type, types, {2, 13, 24}, {24, 40}, false, {}));
  }
  for (const DataType weights : {DataType::kI8, DataType::kI4, DataType::kU8, DataType::kU4}) {
    ProductTypes types{DataType::kF32, DataType::kF32, weights, true, true};
    const std::string type = "_f32_" + std::string(data_type_name(weights));
    out.push_back(make_sample("odd" + type, types, {13, 19}, {19, 33}, false, {}));
    types.weight_zero_points = true;
    out.push_back(make_sample("zero_points" + type, types, {5, 127}, {35, 127}, true, {"silu", true, "relu"}));
    for (const int64_t block : {16, 32}) {
      types.block = block;
      const std::string suffix = "_blocks_" + std::to_string(block) + type;
      out.push_back(make_sample("one_row" + suffix, types, {1, 160}, {160, 35}, false, {}));
      out.push_back(make_sample("transposed" + suffix, types, {3, 75}, {41, 75}, true, {"relu", false, "none"}));
    }
    types.weight_zero_points = false;
    out.push_back(make_sample("symmetric_blocks" + type, types, {2, 3, 64}, {64, 40}, false, {}));
    types = {DataType::kU8, DataType::kI8, weights, true, true, true};
    out.push_back(make_sample("zero_points_u8_" + std::string(data_type_name(weights)), types, {13, 19}, {19, 33},
                              false, {"none", true, "relu"}));
    types = {DataType::kI16, DataType::kI16, weights, true, true, true};
    out.push_back(
        make_sample("zero_points_i16_" + std::string(data_type_name(weights)), types, {13, 19}, {33, 19}, true, {}));
  }
  for (const bool transpose : {false, true}) {
    const ProductTypes types{DataType::kI8, DataType::kI8, DataType::kI4, true, true};
    const Shape b = transpose ? Shape{70, 95} : Shape{95, 70};
    out.push_back(make_sample(transpose ? "i4_transposed" : "i4", types, {29, 95}, b, transpose, {}));
  }
  out.push_back(make_sample("one_row_i4_long", {DataType::kU8, DataType::kI8, DataType::kI4, true, true}, {1, 1283},
                            {1283, 35}, false, {"silu", true, "relu"}));
  out.push_back(make_sample("one_row_f32_i4_long", {DataType::kF32, DataType::kF32, DataType::kI4, true, true},
                            {1, 1283}, {1283, 35}, false, {"relu6", false, "none"}));
  out.push_back(make_sample("i16_to_f32", {DataType::kI16, DataType::kF32, DataType::kI8, true, true}, {5, 19}, {19, 7},
                            false, {}));
  out.push_back(make_sample("i8_to_f32", {DataType::kI8, DataType::kF32, DataType::kI8, true, true}, {5, 19}, {19, 7},
                            false, {}));
  out.push_back(make_sample("i8_one_scale", {DataType::kI8, DataType::kI8, DataType::kI8, false, false}, {5, 19},
                            {19, 7}, false, {}));
  out.push_back(
      make_sample("f64", {DataType::kF64, DataType::kF64, DataType::kF64, true, true}, {5, 19}, {19, 7}, false, {}));
  add_varying_integers(out);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "matmul";
  schema.doc =
      "y[..., i, j] = f(bias[j] + sum over k of a[..., i, k] b[..., k, j]) with f the epilogue: "
      "residual_activation(activation(...) + residual). Leading axes broadcast. Integers sum exactly "
      "(docs/reference/arithmetic.md).";
  schema.inputs = {
      {"a", "[..., M, K]: float, or i8, u8, i16 with one scale"},
      {"b",
       "[..., K, N], or [..., N, K] with transpose_b: a's float type; or i8, i4, u8, u4 (a an integer or f32) "
       "or i16 (a i16) with one scale, or one per entry of N, or, a f32, for each block of K; may vary"},
      {"bias", "[N]: a's float type, or f32 where a is f16, or i32 (i64 for i16) with scale s_a s_b", true},
      {"residual", "[..., M, N]: added after the activation", true}};
  schema.outputs = {{"y", "[..., M, N]; a quantized a needs a declared integer type, or f32"}};
  schema.attributes = {{"transpose_b", AttributeKind::kInt, "1: b is [..., N, K]; default 0"}};
  for (AttributeSpec& spec : epilogue_attributes(true)) schema.attributes.push_back(spec);
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.onnx_names = {"MatMul", "Gemm"};
  return schema;
}

}  // namespace

std::span<const OpSchema> matmul_schemas();
std::span<const OpSchema> matmul_schemas() {
  static const OpSchema schema = make_schema();
  return {&schema, 1};
}

}  // namespace hai::ops

// matmul_weight_gradient: dw[k, n] = sum over all rows r of x[r, k] dy[r, n], the gradient of the weights of a matrix
// product.
//
// Every axis but the last counts as rows, so a free batch is summed over like the others: matmul itself needs sums of
// one length. Made by differentiation (ops/gradient.h). Floats are summed in f64 and rounded once.
#include "ops/inference.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

InferResult infer(const OpSchema& schema, const InferContext& context) {
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(require_same_dtype(schema, context, 1, 0));
  HAI_TRY_STATUS(require_rank(schema, context, 0, 2, kMaxRank));
  const Shape& x = input_type(context, 0).shape;
  const Shape& dy = input_type(context, 1).shape;
  const bool same_rows = x.size() == dy.size() && std::equal(x.begin(), x.end() - 1, dy.begin());
  if (!same_rows || x.back().is_symbolic() || dy.back().is_symbolic()) {
    return make_error(StatusCode::kInvalidArgument, "O505",
                      "x {} and dy {} must agree in all axes but the last, and the last must be numbers",
                      to_string(x, context.symbols), to_string(dy, context.symbols));
  }
  return std::vector<ir::TensorType>{{input_type(context, 0).dtype, {x.back(), dy.back()}, std::nullopt}};
}

Status reference(const OpSchema&, const ReferenceContext& context) {
  const std::vector<double> x = load_all_f64(context.inputs[0]);
  const std::vector<double> dy = load_all_f64(context.inputs[1]);
  const auto k = static_cast<size_t>(context.outputs[0].dims[0]);
  const auto n = static_cast<size_t>(context.outputs[0].dims[1]);
  std::vector<double> sums(k * n, 0.0);
  const size_t rows = k > 0 ? x.size() / k : 0;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t i = 0; i < k; ++i) {
      for (size_t j = 0; j < n; ++j) sums[i * n + j] += x[r * k + i] * dy[r * n + j];
    }
  }
  store_all_f64(context.outputs[0], sums);
  return {};
}

Cost cost(const OpSchema&, const CostContext& context) {
  return {context.inputs[0].count() * context.outputs[0][1], 0};
}

std::vector<Sample> samples(const OpSchema&) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, const Shape& x, int64_t columns) {
    Sample sample;
    sample.name = name;
    SampleInput input;
    input.type = {dtype, x, std::nullopt};
    SampleInput gradient = input;
    gradient.type.shape.back() = Dim(columns);
    sample.inputs = {input, gradient};
    sample.tolerance = dtype == DataType::kF64 ? 1e-14 : 1e-5;  // f32: sums of a thousand terms
    out.push_back(std::move(sample));
  };
  add("odd_f32", DataType::kF32, {13, 7}, 19);
  add("one_row_f32", DataType::kF32, {1, 5}, 3);
  add("columns_f32", DataType::kF32, {31, 3}, 127);
  add("many_rows_f32", DataType::kF32, {2, 9, 61, 33}, 41);
  add("empty_f32", DataType::kF32, {0, 3}, 5);
  add("f64", DataType::kF64, {11, 6}, 4);
  return out;
}

OpSchema make_schema() {
  OpSchema schema;
  schema.name = "matmul_weight_gradient";
  schema.doc =
      "dw[k, n] = sum over all rows r of x[r, k] dy[r, n]: the gradient of the weights of a matrix product. All axes "
      "but the "
      "last count as rows, a free batch among them. Floats only.";
  schema.inputs = {{"x", "[..., K]: the product's left operand"}, {"dy", "[..., N]: the gradient of its result"}};
  schema.outputs = {{"dw", "[K, N]"}};
  schema.infer = infer;
  schema.reference = reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by differentiation only"},
                            {"sd3403", "training runs on the CPU"},
                            {"gradient", "second derivatives are not built"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> matmul_weight_gradient_schemas();
std::span<const OpSchema> matmul_weight_gradient_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema()};
  return schemas;
}

}  // namespace hai::ops

// average_pool: which elements the divisor counts, integers by hand, and what inference refuses.
//
// The float examples are those of the ONNX operator's documentation, as NHWC with one channel.
#include <gtest/gtest.h>

#include <numeric>

#include "ops/build.h"
#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

using Ints = std::vector<int64_t>;

Result<Tensor> run(const ir::TensorType& type, const std::vector<double>& values, ir::Attributes attributes,
                   std::optional<ir::TensorType> declared = {}) {
  ir::Graph graph;
  const ir::ValueId x = graph.add_input("x", type);
  AppendOptions options;
  options.declared = {std::move(declared)};
  HAI_TRY(const ir::ValueId y, append_value(graph, "average_pool", {x}, std::move(attributes), std::move(options)));
  graph.add_output(y);
  std::vector<Tensor> inputs = {Tensor::zeros(type.dtype, resolve(type.shape, {}), type.quantization)};
  store_all_f64(inputs[0].mutable_view(), values);
  HAI_TRY(InterpretResult result, interpret(graph, inputs));
  return std::move(result.outputs[0]);
}

std::vector<double> counting(size_t count) {
  std::vector<double> values(count);
  std::iota(values.begin(), values.end(), 1.0);
  return values;
}

TEST(AveragePool, CeilMode) {
  const auto y = run({DataType::kF32, {1, 4, 4, 1}, {}}, counting(16),
                     {{"kernel", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"ceil_mode", int64_t{1}}});
  ASSERT_TRUE(y) << y.error().to_string();
  EXPECT_EQ(load_all_f64(y->view()), (std::vector<double>{6, 7.5, 12, 13.5}));
}

TEST(AveragePool, PaddingInTheDivisor) {
  ir::Attributes attributes = {{"kernel", Ints{5, 5}}, {"pads", Ints{2, 2, 2, 2}}};
  const auto without = run({DataType::kF32, {1, 5, 5, 1}, {}}, counting(25), attributes);
  ASSERT_TRUE(without);
  EXPECT_EQ(load_f64(without->view(), 0), 7.0);
  attributes["count_include_pad"] = int64_t{1};
  const auto with = run({DataType::kF32, {1, 5, 5, 1}, {}}, counting(25), attributes);
  ASSERT_TRUE(with);
  EXPECT_FLOAT_EQ(static_cast<float>(load_f64(with->view(), 0)), 2.52F);
}

TEST(AveragePool, IntegersByHand) {
  // (3 + 5 + 6 + 10 - 4 * 2) * 0.5 / 4 = 2.0 -> 2.0 / 0.25 = 8 -> stored 8 - 1; ties go to even.
  const ir::TensorType x{DataType::kI8, {1, 2, 2, 1}, per_tensor_quantization(0.5F, 2)};
  const ir::TensorType y{DataType::kI8, {}, per_tensor_quantization(0.25F, -1)};
  const auto result = run(x, {3, 5, 6, 10}, {{"kernel", Ints{2, 2}}}, y);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(load_integer(result->view(), 0), 7);
  const ir::TensorType coarse{DataType::kI8, {}, per_tensor_quantization(0.5F, 0)};
  const auto tie = run(x, {3, 5, 6, 4}, {{"kernel", Ints{2, 2}}}, coarse);  // 10 / 4 = 2.5
  ASSERT_TRUE(tie);
  EXPECT_EQ(load_integer(tie->view(), 0), 2);
}

TEST(AveragePool, Refuses) {
  const ir::TensorType x{DataType::kI8, {1, 5000, 5000, 1}, per_tensor_quantization(0.5F, 2)};
  ir::Graph graph;
  const ir::ValueId value = graph.add_input("x", x);
  const ir::ValueId plain = graph.add_input("plain", {DataType::kI8, {1, 4, 4, 1}, {}});
  AppendOptions options;
  options.declared = {ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.5F, 2)}};
  const auto too_large = append_value(graph, "average_pool", {value}, {{"kernel", Ints{4000, 4000}}}, options);
  ASSERT_FALSE(too_large);
  EXPECT_EQ(too_large.error().id, "O320");
  const auto undeclared = append_value(graph, "average_pool", {value}, {{"kernel", Ints{2, 2}}});
  ASSERT_FALSE(undeclared);
  EXPECT_EQ(undeclared.error().id, "O022");
  options.declared[0]->quantization = per_tensor_quantization(1e-6F, 0);
  const auto scale = append_value(graph, "average_pool", {value}, {{"kernel", Ints{2, 2}}}, options);
  ASSERT_FALSE(scale);
  EXPECT_EQ(scale.error().id, "O301");
  const auto unscaled = append_value(graph, "average_pool", {plain}, {{"kernel", Ints{2, 2}}});
  ASSERT_FALSE(unscaled);
  EXPECT_EQ(unscaled.error().id, "O014");
}

}  // namespace
}  // namespace hai::ops

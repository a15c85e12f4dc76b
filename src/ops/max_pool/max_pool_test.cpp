// max_pool: what padding, NaN, straddled windows and hostile attributes mean; the generic suite compares the rest.
//
// Expected values are worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/build.h"
#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

using Ints = std::vector<int64_t>;

Result<std::vector<double>> run(const std::vector<double>& values, const Dims& dims, ir::Attributes attributes) {
  ir::Graph graph;
  const ir::ValueId x = graph.add_input("x", {DataType::kF32, to_shape(dims), std::nullopt});
  HAI_TRY(const ir::ValueId y, append_value(graph, "max_pool", {x}, std::move(attributes)));
  graph.add_output(y);
  std::vector<Tensor> inputs = {Tensor::zeros(DataType::kF32, dims)};
  store_all_f64(inputs[0].mutable_view(), values);
  HAI_TRY(const InterpretResult result, interpret(graph, inputs));
  return load_all_f64(result.outputs[0].view());
}

TEST(MaxPool, PaddingTakesNoPart) {
  const auto y = run({-4, -3, -2, -1}, {1, 2, 2, 1}, {{"kernel", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}});
  ASSERT_TRUE(y) << y.error().to_string();
  EXPECT_EQ(*y, (std::vector<double>{-4, -3, -3, -2, -1, -1, -2, -1, -1}));
}

TEST(MaxPool, NanIsPassedOver) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto y = run({nan, 1, nan, nan}, {1, 1, 4, 1}, {{"kernel", Ints{1, 2}}, {"strides", Ints{1, 2}}});
  ASSERT_TRUE(y) << y.error().to_string();
  EXPECT_EQ((*y)[0], 1.0);
  EXPECT_EQ((*y)[1], -std::numeric_limits<double>::infinity());
}

TEST(MaxPool, AWindowThatStraddlesTheInputSeesNothing) {
  // Taps at -1 and 2 around an input of 1 x 1.
  const auto y =
      run({5}, {1, 1, 1, 1}, {{"kernel", Ints{2, 1}}, {"dilations", Ints{3, 1}}, {"pads", Ints{1, 0, 2, 0}}});
  ASSERT_TRUE(y) << y.error().to_string();
  EXPECT_EQ(*y, (std::vector<double>{-std::numeric_limits<double>::infinity()}));
}

TEST(MaxPool, CeilModeLeavesOutAWindowThatBeginsInTheEndPadding) {
  const ir::Attributes attributes = {
      {"kernel", Ints{1, 2}}, {"strides", Ints{1, 2}}, {"pads", Ints{0, 0, 0, 1}}, {"ceil_mode", int64_t{1}}};
  const auto even = run({1, 2, 3, 4}, {1, 1, 4, 1}, attributes);
  ASSERT_TRUE(even);
  EXPECT_EQ(*even, (std::vector<double>{2, 4}));
  const auto odd = run({1, 2, 3, 4, 5}, {1, 1, 5, 1}, attributes);
  ASSERT_TRUE(odd);
  EXPECT_EQ(*odd, (std::vector<double>{2, 4, 5}));
}

TEST(MaxPool, HostileAttributes) {
  const std::vector<double> values(4, 0.0);
  const Dims dims{1, 2, 2, 1};
  EXPECT_EQ(run(values, dims, {}).error().id, "O006");
  EXPECT_EQ(run(values, dims, {{"kernel", Ints{0, 1}}}).error().id, "O018");
  EXPECT_EQ(run(values, dims, {{"kernel", Ints{1}}}).error().id, "O017");
  EXPECT_EQ(run(values, dims, {{"kernel", Ints{1, 1}}, {"strides", Ints{0, 1}}}).error().id, "O018");
  EXPECT_EQ(run(values, dims, {{"kernel", Ints{1, 1}}, {"pads", Ints{-1, 0, 0, 0}}}).error().id, "O018");
  EXPECT_EQ(run(values, dims, {{"kernel", Ints{2, 2}}, {"pads", Ints{2, 0, 0, 0}}}).error().id, "O310");
  EXPECT_EQ(run(values, dims, {{"kernel", Ints{3, 1}}}).error().id, "O310");
}

}  // namespace
}  // namespace hai::ops

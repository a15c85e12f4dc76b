// Equalization: the same function, like channels, less noise in 8 bits; clamps and shared tensors are left alone.
#include "quantizer/equalize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ops/build.h"
#include "ops/interpreter.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kSize = 7;

std::vector<float> normal_values(size_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

struct Network {
  ir::Graph graph;
  ir::ValueId x = ir::kNone;

  Network() { x = graph.add_input("x", {DataType::kF32, to_shape(std::vector<int64_t>{1, kSize, kSize, 3}), {}}); }
  ir::ValueId op(const std::string& name, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {}) {
    auto value = ops::append_value(graph, name, std::move(inputs), std::move(attributes), {name, {}, {}, 1});
    EXPECT_TRUE(value.has_value()) << (value.has_value() ? "" : value.error().to_string());
    return value.has_value() ? *value : ir::ValueId{0};
  }
  // Row i of the weights is scaled by 4^(i % spread).
  ir::ValueId conv(ir::ValueId from, int64_t in, int64_t out, int64_t groups, int64_t spread, uint32_t seed) {
    std::vector<float> weights = normal_values(static_cast<size_t>(out * in / groups), seed, 0.4F);
    for (size_t i = 0; i < weights.size(); ++i)
      weights[i] *= std::pow(4.0F, static_cast<float>(static_cast<int64_t>(i) / (in / groups) % spread));
    const int64_t dims[] = {out, 1, 1, in / groups};
    const int64_t bias_dims[] = {out};
    return op("conv2d",
              {from, ops::add_constant_f32(graph, "w", dims, weights),
               ops::add_constant_f32(graph, "b", bias_dims, normal_values(static_cast<size_t>(out), seed + 1, 0.1F))},
              {{"groups", groups}});
  }
};

ops::Tensor picture(uint32_t seed) {
  ops::Tensor tensor = ops::Tensor::zeros(DataType::kF32, Dims{1, kSize, kSize, 3});
  const std::vector<float> values = normal_values(static_cast<size_t>(tensor.view().count()), seed, 1.0F);
  std::copy(values.begin(), values.end(), data_of<float>(tensor.mutable_view()));
  return tensor;
}

Observations observe(const ir::Graph& graph, const std::vector<ScalableTensor>& tensors) {
  Observations seen;
  std::vector<ops::Tensor> inputs;
  inputs.push_back(picture(5));
  ops::InterpretOptions keep;
  keep.keep_all = true;
  const auto all = ops::interpret(graph, inputs, keep);
  EXPECT_TRUE(all.has_value());
  for (const ScalableTensor& tensor : tensors) {
    const TensorView view = all->all.at(tensor.value).view();
    RangeObserver observer(view.dims[view.dims.rank - 1], true);
    EXPECT_TRUE(observer.add({data_of<float>(view), static_cast<size_t>(view.count())}));
    seen.emplace(tensor.value, observer);
  }
  return seen;
}

std::vector<float> run(const ir::Graph& graph) {
  std::vector<ops::Tensor> inputs;
  inputs.push_back(picture(9));
  const auto result = ops::interpret(graph, inputs);
  EXPECT_TRUE(result.has_value()) << (result.has_value() ? "" : result.error().to_string());
  const TensorView view = result->outputs[0].view();
  return {data_of<float>(view), data_of<float>(view) + view.count()};
}

void expect_same_function(const std::vector<float>& before, const std::vector<float>& after) {
  ASSERT_EQ(before.size(), after.size());
  float largest = 0;
  for (const float value : before) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(before[i], after[i], 1e-5F * largest) << i;
}

double spread_of(const std::vector<float>& magnitudes) {
  const auto [low, high] = std::minmax_element(magnitudes.begin(), magnitudes.end());
  return static_cast<double>(*high) / static_cast<double>(*low);
}

TEST(Equalize, DepthwiseAndDenseReadersKeepTheFunctionAndEvenTheChannels) {
  for (const bool depthwise : {true, false}) {
    Network n;
    const ir::ValueId hidden = n.op("leaky_relu", {n.conv(n.x, 3, 8, 1, 5, 1)});
    n.graph.add_output(depthwise ? n.conv(hidden, 8, 8, 8, 1, 3) : n.conv(hidden, 8, 5, 1, 1, 3));
    const std::vector<float> before = run(n.graph);
    const auto tensors = scalable_tensors(n.graph);
    ASSERT_TRUE(tensors.has_value());
    ASSERT_EQ(tensors->size(), 1U);
    const double spread_before = spread_of(observe(n.graph, *tensors).at(hidden).channel_largest());
    const auto scaled = equalize(n.graph, *tensors, observe(n.graph, *tensors));
    ASSERT_TRUE(scaled.has_value());
    EXPECT_EQ(scaled->size(), 1U);
    ASSERT_TRUE(ops::verify(n.graph).has_value());
    expect_same_function(before, run(n.graph));
    const double spread_after = spread_of(observe(n.graph, *tensors).at(hidden).channel_largest());
    // Raised, but no further than to an eighth of the loudest.
    EXPECT_LT(spread_after, 0.5 * spread_before);
    if (depthwise) {
      EXPECT_NEAR(spread_after, 8.0, 0.1);
    }
  }
}

TEST(Equalize, BehindANormalizationTheOffsetAndScaleAreDivided) {
  Network n;
  const int64_t dims[] = {3};
  const ir::ValueId scaled =
      n.op("mul", {n.x, ops::add_constant_f32(n.graph, "gamma", dims, std::vector<float>{1, 30, 4})});
  const ir::ValueId shifted =
      n.op("add", {scaled, ops::add_constant_f32(n.graph, "beta", dims, std::vector<float>{0.1F, 5, -2})});
  n.graph.add_output(n.conv(shifted, 3, 13, 1, 1, 3));
  const std::vector<float> before = run(n.graph);
  const auto tensors = scalable_tensors(n.graph);
  ASSERT_TRUE(tensors.has_value());
  ASSERT_EQ(tensors->size(), 1U);
  EXPECT_TRUE((*tensors)[0].affine);
  const auto names = equalize(n.graph, *tensors, observe(n.graph, *tensors));
  ASSERT_TRUE(names.has_value());
  EXPECT_EQ(names->size(), 1U);
  expect_same_function(before, run(n.graph));
}

TEST(Equalize, ALayerNormGivesItsScaleAndBias) {
  Network n;
  const int64_t dims[] = {3};
  const ir::ValueId normalized =
      n.op("layer_norm", {n.x, ops::add_constant_f32(n.graph, "gamma", dims, std::vector<float>{1, 30, 4}),
                          ops::add_constant_f32(n.graph, "beta", dims, std::vector<float>{0.1F, 5, -2})});
  n.graph.add_output(n.conv(normalized, 3, 13, 1, 1, 3));
  const std::vector<float> before = run(n.graph);
  const auto tensors = scalable_tensors(n.graph);
  ASSERT_TRUE(tensors.has_value());
  ASSERT_EQ(tensors->size(), 1U);
  EXPECT_TRUE((*tensors)[0].affine);
  const auto names = equalize(n.graph, *tensors, observe(n.graph, *tensors));
  ASSERT_TRUE(names.has_value());
  EXPECT_EQ(names->size(), 1U);
  expect_same_function(before, run(n.graph));
}

// Attention reads its input turned round: channels stay last, and other moves end the search.
TEST(Equalize, MoversThatKeepTheChannelsLastAreSeenThrough) {
  for (const bool last : {true, false}) {
    Network n;
    const int64_t dims[] = {3};
    const ir::ValueId gamma = ops::add_constant_f32(n.graph, "gamma", dims, std::vector<float>{1, 30, 4});
    const ir::ValueId rows = n.op("reshape", {n.op("mul", {n.x, gamma})}, {{"shape", std::vector<int64_t>{49, 3}}});
    const std::vector<int64_t> order = last ? std::vector<int64_t>{1, 0, 2} : std::vector<int64_t>{2, 1, 0};
    const ir::ValueId stacked = n.op("reshape", {rows}, {{"shape", std::vector<int64_t>{7, 7, 3}}});
    const ir::ValueId moved = n.op("transpose", {stacked}, {{"permutation", order}});
    const int64_t w_dims[] = {last ? 3 : 7, 13};
    const std::vector<float> weights = normal_values(static_cast<size_t>(w_dims[0] * 13), 3, 0.4F);
    n.graph.add_output(n.op("matmul", {moved, ops::add_constant_f32(n.graph, "w", w_dims, weights)}));
    const std::vector<float> before = run(n.graph);
    const auto tensors = scalable_tensors(n.graph);
    ASSERT_TRUE(tensors.has_value());
    ASSERT_EQ(tensors->size(), last ? 1U : 0U);
    const auto scaled = equalize(n.graph, *tensors, observe(n.graph, *tensors));
    ASSERT_TRUE(scaled.has_value());
    EXPECT_EQ(scaled->size(), last ? 1U : 0U);
    expect_same_function(before, run(n.graph));
  }
}

TEST(Equalize, ClampsSharedTensorsAndOutputsAreLeftAlone) {
  Network clamp;
  clamp.graph.add_output(clamp.conv(clamp.op("relu6", {clamp.conv(clamp.x, 3, 8, 1, 5, 1)}), 8, 5, 1, 1, 3));
  Network shared;
  const ir::ValueId hidden = shared.op("relu", {shared.conv(shared.x, 3, 8, 1, 5, 1)});
  shared.graph.add_output(shared.conv(hidden, 8, 5, 1, 1, 3));
  shared.graph.add_output(shared.op("sigmoid", {hidden}));
  Network output;
  const ir::ValueId seen = output.op("relu", {output.conv(output.x, 3, 8, 1, 5, 1)});
  output.graph.add_output(output.conv(seen, 8, 5, 1, 1, 3));
  output.graph.add_output(seen);
  for (const Network* n : {&clamp, &shared, &output}) {
    const auto tensors = scalable_tensors(n->graph);
    ASSERT_TRUE(tensors.has_value());
    EXPECT_TRUE(tensors->empty());
  }
}

TEST(Equalize, EvenChannelsStayAsTheyAre) {
  Network n;
  n.graph.add_output(n.conv(n.op("relu", {n.conv(n.x, 3, 8, 1, 1, 1)}), 8, 5, 1, 1, 3));
  const auto tensors = scalable_tensors(n.graph);
  ASSERT_TRUE(tensors.has_value());
  Observations even;
  std::vector<float> rows(8 * 13, 1.0F);
  RangeObserver observer(8, true);
  ASSERT_TRUE(observer.add(rows));
  even.emplace((*tensors)[0].value, observer);
  const std::vector<float> before = run(n.graph);
  ASSERT_TRUE(equalize(n.graph, *tensors, even).has_value());
  expect_same_function(before, run(n.graph));
}

}  // namespace
}  // namespace hai::quantizer

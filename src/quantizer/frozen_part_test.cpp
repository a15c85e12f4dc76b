// quantize() of a model that will be trained: what is frozen becomes integer as in the whole model's quantization, what
// a training reaches stays as it is.
#include "quantizer/quantizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "quantizer/options.h"
#include "quantizer/test_network.h"
#include "quantizer/test_samples.h"
#include "quantizer/weights.h"
#include "types/quantize_layer.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kSize = 13;

using testing::count_ops;
using testing::NetworkBuilder;
using testing::samples_of;
using testing::sqnr_db;

// Two layers before a part of two layers with a batch norm.
ir::Graph network_to_train(uint32_t seed) {
  NetworkBuilder b(seed);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId stem = b.op("relu6", {b.conv(x, 3, 16, 3, "stem")});
  const ir::ValueId middle = b.op("relu", {b.conv(stem, 16, 16, 3, "middle")});
  std::vector<ir::ValueId> norm = {b.conv(middle, 16, 19, 1, "tail")};
  const int64_t dims[] = {19};
  for (const char* name : {"gamma", "beta", "mean", "variance"}) {
    std::vector<float> values(19);
    for (size_t i = 0; i < values.size(); ++i) values[i] = 0.5F + 0.1F * static_cast<float>(i % 7);
    norm.push_back(ops::add_constant_f32(b.graph, name, dims, values));
  }
  const ir::ValueId tail = b.op("relu", {b.op("batch_norm", norm)});
  b.graph.add_output(b.conv(tail, 19, 5, 1, "classifier"));
  return b.graph;
}

TEST(FrozenPart, WhatIsTrainedStaysFloatBehindADequantize) {
  const ir::Graph graph = network_to_train(11);
  const Dims dims{1, kSize, kSize, 3};
  QuantizeOptions options;
  options.trainable = "last:2";
  const auto frozen = quantize(graph, samples_of(dims, 16), options);
  ASSERT_TRUE(frozen.has_value()) << frozen.error().to_string();
  options.trainable.clear();
  const auto whole = quantize(graph, samples_of(dims, 16), options);
  ASSERT_TRUE(whole.has_value()) << whole.error().to_string();

  EXPECT_EQ(count_ops(frozen->graph, "quantize"), 1U);
  EXPECT_EQ(count_ops(frozen->graph, "dequantize"), 1U);
  EXPECT_EQ(count_ops(frozen->graph, "batch_norm"), 1U);  // not folded: it is trained
  EXPECT_EQ(count_ops(whole->graph, "batch_norm"), 0U);
  for (const char* name : {"tail.w", "gamma", "beta", "mean", "variance", "classifier.w"}) {
    const auto value = frozen->graph.find_value(name);
    ASSERT_TRUE(value.has_value()) << name;
    const auto original = graph.find_value(name);
    const auto a = frozen->graph.value(*value).constant->bytes();
    const auto b = graph.value(*original).constant->bytes();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << name;
  }
  // The frozen part has the integers of the whole model's quantization, so one file can hold both.
  for (const char* name : {"stem.w", "middle.w", "stem.bias.i32", "middle.bias.i32"}) {
    const auto value = frozen->graph.find_value(name);
    const auto other = whole->graph.find_value(name);
    ASSERT_TRUE(value.has_value() && other.has_value()) << name;
    const auto a = frozen->graph.value(*value).constant->bytes();
    const auto b = whole->graph.value(*other).constant->bytes();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end())) << name;
  }
  // 8 bits through two layers, and nothing lost behind them.
  EXPECT_GT(sqnr_db(graph, frozen->graph, dims), 28.0);
}

TEST(FrozenPart, AFrozenPartWithoutLayersIsRefused) {
  QuantizeOptions options;
  for (const char* trainable : {"all", "last:4"}) {
    options.trainable = trainable;
    const auto quantized = quantize(network_to_train(11), samples_of({1, kSize, kSize, 3}, 4), options);
    ASSERT_FALSE(quantized.has_value()) << trainable;
    EXPECT_EQ(quantized.error().id, "Q098");
  }
  EXPECT_EQ(options_from_json(R"({"trainable": "head", "sparsity": 0.5})").error().id, "Q097");
}

// The bytes of a layer with a batch norm, made again from its f32 parameters by the functions that a device has
// (types/quantize_layer.h), are those of the quantizer.
TEST(FrozenPart, ALayerIsRebuiltToTheSameBytes) {
  const ir::Graph graph = network_to_train(12);
  QuantizeOptions options;
  options.bias_correction = false;
  const auto quantized = quantize(graph, samples_of({1, kSize, kSize, 3}, 8), options);
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  const ir::Graph& made = quantized->graph;
  const auto folded = made.find_value("tail.w.1");  // folding leaves the weights alone that it was given
  ASSERT_TRUE(folded && made.value(*folded).uses.size() == 1);
  const ir::Value& weights = made.value(*folded);
  const ir::Node& layer = made.node(weights.uses[0].node);
  const ir::Value& bias = made.value(layer.inputs[2]);
  const auto s_x = static_cast<double>(made.value(layer.inputs[0]).type.quantization->scales[0]);
  const auto s_y = static_cast<double>(made.value(layer.outputs[0]).type.quantization->scales[0]);
  const auto floats = [&](const char* name) { return floats_of(graph.value(*graph.find_value(name))); };
  const auto w = floats("tail.w");
  const size_t channels = floats("gamma").size();
  const size_t inner = w.size() / channels;
  const auto* bytes = reinterpret_cast<const int8_t*>(weights.constant->bytes().data());
  const auto* biases = reinterpret_cast<const int32_t*>(bias.constant->bytes().data());
  for (size_t c = 0; c < channels; ++c) {
    const auto number = [&](const char* name) { return static_cast<double>(floats(name)[c]); };
    const hai_channel_affine affine =
        hai_batch_norm_affine(number("gamma"), number("beta"), number("mean"), number("variance"), 1e-5);
    const float folded_bias = hai_fold_bias(number("tail.b"), affine.scale, affine.offset);
    double largest = 0;
    for (size_t i = 0; i < inner; ++i)
      largest = std::max(largest, std::abs(static_cast<double>(hai_fold_weight(w[c * inner + i], affine.scale))));
    const float scale =
        hai_bounded_weight_scale(hai_weight_scale(largest, 127), s_x, s_y, static_cast<double>(folded_bias), 0x1p23);
    EXPECT_EQ(scale, weights.type.quantization->scales[c]) << c;
    EXPECT_EQ(hai_round_bias(folded_bias, s_x, scale, 0x1p23), static_cast<double>(biases[c])) << c;
    for (size_t i = 0; i < inner; ++i) {
      const double q = hai_round_weight(hai_fold_weight(w[c * inner + i], affine.scale), scale, 127);
      ASSERT_EQ(q, static_cast<double>(bytes[c * inner + i])) << "channel " << c << ", weight " << i;
    }
  }
}

}  // namespace
}  // namespace hai::quantizer

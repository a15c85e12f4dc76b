// quantize(): what becomes integer and what stays float, shared scales, accuracy on small networks, zero channels, bad
// samples.
#include "quantizer/quantizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "quantizer/plan.h"
#include "quantizer/test_network.h"
#include "quantizer/test_samples.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kSize = 13;

using testing::count_ops;
using testing::NetworkBuilder;
using testing::random_tensor;
using testing::samples_of;
using testing::sqnr_db;

// Gains of 8 channels, of which the sixth has no weights.
const NetworkBuilder::Gains kZeroChannel = {{1, 1, 1, 1, 1, 0, 1, 1}, {}};

TEST(Quantize, AResidualNetworkStaysCloseAndIntegerInside) {
  NetworkBuilder b(1);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId stem = b.op("relu6", {b.conv(x, 3, 16, 3, "stem")});
  const ir::ValueId branch = b.op("silu", {b.conv(stem, 16, 16, 3, "branch")});
  const ir::ValueId sum = b.op("add", {b.conv(branch, 16, 16, 1, "project"), stem});
  const ir::ValueId joined = b.op("concat", {sum, branch}, {{"axis", int64_t{3}}});
  const ir::ValueId pooled = b.op("reduce_mean", {b.op("relu", {b.conv(joined, 32, 19, 1, "head")})},
                                  {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{1}}});
  b.graph.add_output(b.conv(pooled, 19, 7, 1, "classifier"));
  const Dims dims{1, kSize, kSize, 3};
  for (const Observer observer : {Observer::kMinMax, Observer::kMse}) {
    QuantizeOptions options;
    options.observer = observer;
    const auto quantized = quantize(b.graph, samples_of(dims, 16), options);
    ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
    EXPECT_EQ(quantized->sample_count, 16);
    EXPECT_EQ(count_ops(quantized->graph, "quantize"), 1U);
    EXPECT_EQ(count_ops(quantized->graph, "dequantize"), 0U);   // the classifier hands out f32 itself
    EXPECT_GT(sqnr_db(b.graph, quantized->graph, dims), 25.0);  // 8 bits give about 30 dB through six layers
    const auto report = nlohmann::json::parse(quantized->report_json);
    EXPECT_EQ(report["layers"].size(), 5U);
    EXPECT_EQ(report["float_nodes"], 0);
  }
}

TEST(Quantize, OutputsKeepNameAndType) {
  NetworkBuilder b(2);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId first = b.op("relu", {b.conv(x, 3, 8, 3, "a")});
  const ir::ValueId second = b.conv(first, 8, 4, 1, "b");
  b.graph.rename_value(first, "features");
  b.graph.rename_value(second, "scores");
  b.graph.add_output(first);  // read by an integer operator too, so it is dequantized
  b.graph.add_output(second);
  const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4));
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  ASSERT_EQ(quantized->graph.outputs().size(), 2U);
  EXPECT_EQ(quantized->graph.value(quantized->graph.outputs()[0]).name, "features");
  EXPECT_EQ(quantized->graph.value(quantized->graph.outputs()[1]).name, "scores");
  for (const ir::ValueId output : quantized->graph.outputs())
    EXPECT_EQ(quantized->graph.value(output).type.dtype, DataType::kF32);
  EXPECT_EQ(count_ops(quantized->graph, "dequantize"), 1U);
}

TEST(Quantize, DecodingAfterTheLastConvolutionStaysFloat) {
  NetworkBuilder b(3);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId head = b.conv(b.op("relu", {b.conv(x, 3, 8, 3, "a")}), 8, 4, 1, "head");
  const ir::ValueId decoded = b.op("mul", {b.op("sigmoid", {head}), b.op("exp", {head})});
  b.graph.add_output(decoded);
  const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4));
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  for (ir::NodeId id = 0; id < quantized->graph.node_slots(); ++id) {
    const ir::Node& node = quantized->graph.node(id);
    if (node.alive && (node.op == "sigmoid" || node.op == "exp" || node.op == "mul")) {
      EXPECT_EQ(quantized->graph.value(node.outputs[0]).type.dtype, DataType::kF32) << node.op;
    }
  }
}

// One head of attention between layers; with `decodes`, what it mixes by are no shares.
ir::Graph attention_network(bool decodes) {
  NetworkBuilder b(11);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId stem = b.op("reshape", {b.conv(x, 3, 16, 3, "stem")}, {{"shape", std::vector<int64_t>{1, -1, 16}}});
  const int64_t dims[] = {16};
  const std::vector<float> gain(16, 1.2F);
  const ir::ValueId normal =
      b.op("layer_norm", {stem, ops::add_constant_f32(b.graph, "gain", dims, gain),
                          ops::add_constant_f32(b.graph, "offset", dims, std::vector<float>(16, -0.1F))});
  const ir::ValueId rows = b.op("reshape", {normal}, {{"shape", std::vector<int64_t>{1, kSize, kSize, 16}}});
  const auto flat = [&](ir::ValueId v) {
    return b.op("reshape", {v}, {{"shape", std::vector<int64_t>{1, kSize * kSize, 16}}});
  };
  const ir::ValueId query = flat(b.conv(rows, 16, 16, 1, "query"));
  const ir::ValueId key = flat(b.conv(rows, 16, 16, 1, "key"));
  ir::ValueId mixed = b.op("matmul", {query, key}, {{"transpose_b", int64_t{1}}}, "scores");
  mixed = b.op("softmax", {mixed}, {{"axis", int64_t{-1}}});
  if (decodes) mixed = b.op("sub", {mixed, b.op("square", {mixed})});  // not shares of anything
  mixed = b.op("matmul", {mixed, flat(b.conv(rows, 16, 16, 1, "value"))}, {}, "mix");
  const ir::ValueId sum = b.op("add", {mixed, stem});
  const ir::ValueId picture = b.op("reshape", {sum}, {{"shape", std::vector<int64_t>{1, kSize, kSize, 16}}});
  b.graph.add_output(b.conv(picture, 16, 7, 1, "head"));
  return std::move(b.graph);
}

TEST(Quantize, AttentionIsIntegerBetweenLayersOfEightBits) {
  const ir::Graph graph = attention_network(false);
  const Dims dims{1, kSize, kSize, 3};
  const auto quantized = quantize(graph, samples_of(dims, 16));
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  EXPECT_EQ(count_ops(quantized->graph, "quantize"), 1U);
  EXPECT_EQ(count_ops(quantized->graph, "dequantize"), 0U);
  EXPECT_EQ(nlohmann::json::parse(quantized->report_json)["float_nodes"], 0);
  EXPECT_GT(sqnr_db(graph, quantized->graph, dims), 25.0);
}

// Logits of anything but attention are no longer themselves in 8 bits, nor is attention between layers of 16.
TEST(Quantize, OtherSoftmaxesAndAttentionOfSixteenBitsStayFloat) {
  for (const bool wide : {false, true}) {
    const ir::Graph graph = attention_network(!wide);
    const Dims dims{1, kSize, kSize, 3};
    QuantizeOptions options;
    if (wide) options.precision = {8, 16, false};
    const auto quantized = quantize(graph, samples_of(dims, 16), options);
    ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
    for (ir::NodeId id = 0; id < quantized->graph.node_slots(); ++id) {
      const ir::Node& node = quantized->graph.node(id);
      if (!node.alive || (node.op != "softmax" && !(wide && node.name == "mix"))) continue;
      EXPECT_EQ(quantized->graph.value(node.outputs[0]).type.dtype, DataType::kF32) << node.name;
    }
    EXPECT_GT(sqnr_db(graph, quantized->graph, dims), wide ? 33.0 : 25.0);
  }
}

TEST(Quantize, AZeroChannelGetsAUsableMultiplier) {
  NetworkBuilder b(4);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  b.graph.add_output(b.conv(b.op("relu", {b.conv(x, 3, 8, 3, "a", kZeroChannel)}), 8, 4, 1, "b"));
  const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4));
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  EXPECT_EQ(nlohmann::json::parse(quantized->report_json)["layers"][0]["zero_channels"], 1);
  EXPECT_GT(sqnr_db(b.graph, quantized->graph, {1, kSize, kSize, 3}), 25.0);
}

TEST(Quantize, AZeroChannelOfAFloatResultGetsAUsableMultiplier) {
  for (const int bits : {4, 8, 16}) {
    NetworkBuilder b(5);
    b.graph.add_output(b.conv(b.input({1, kSize, kSize, 3}), 3, 7, 1, "last", {{1, 1, 0, 1, 1, 1, 1}, {}}));
    QuantizeOptions options;
    options.precision = {bits, bits == 16 ? 16 : 8, false};
    const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 16), options);
    EXPECT_TRUE(quantized.has_value()) << bits << ": " << quantized.error().to_string();
  }
}

TEST(Quantize, ALayerThatIsNeverReachedStaysUsable) {
  NetworkBuilder b(11);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId first = b.conv(x, 3, 8, 3, "a");
  const int64_t dims[] = {8};
  const ir::ValueId far = ops::add_constant_f32(b.graph, "far", dims, std::vector<float>(8, -100.0F));
  const ir::ValueId dead = b.op("relu", {b.op("add", {first, far})});  // zero on every sample
  const ir::ValueId joined =
      b.op("concat", {b.op("add", {dead, first}), b.conv(dead, 8, 8, 1, "never")}, {{"axis", int64_t{3}}});
  b.graph.add_output(b.conv(joined, 16, 4, 1, "b"));
  const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4));
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  EXPECT_FALSE(quantized->warnings.empty());
  EXPECT_GT(sqnr_db(b.graph, quantized->graph, {1, kSize, kSize, 3}), 20.0);  // 8 bits through two layers
}

TEST(Quantize, KeepFloatIsObeyedAndUnknownNamesAreErrors) {
  NetworkBuilder b(5);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  b.graph.add_output(b.conv(b.op("relu", {b.conv(x, 3, 8, 3, "a")}), 8, 4, 1, "b"));
  QuantizeOptions options;
  options.keep_float = {"b"};
  const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4), options);
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  EXPECT_EQ(nlohmann::json::parse(quantized->report_json)["layers"].size(), 1U);
  options.keep_float = {"nowhere"};
  const auto refused = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4), options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().id, "Q010");
}

TEST(Quantize, SymmetricMeansZeroPointsOfZero) {
  NetworkBuilder b(6);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  b.graph.add_output(b.conv(b.op("relu", {b.conv(x, 3, 8, 3, "a")}), 8, 4, 1, "b"));
  QuantizeOptions options;
  options.symmetric = true;
  const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4), options);
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  const auto report = nlohmann::json::parse(quantized->report_json);
  for (const auto& tensor : report["tensors"]) EXPECT_EQ(tensor["zero_point"], 0);
}

ir::Graph small_network(uint32_t seed) {
  NetworkBuilder b(seed);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId stem = b.op("silu", {b.conv(x, 3, 16, 3, "stem")});
  const ir::ValueId sum = b.op("add", {b.op("relu", {b.conv(stem, 16, 16, 3, "branch")}), stem});
  const ir::ValueId joined = b.op("concat", {sum, stem}, {{"axis", int64_t{3}}});
  b.graph.add_output(b.conv(b.op("hard_swish", {b.conv(joined, 32, 19, 1, "mix")}), 19, 7, 1, "head"));
  return b.graph;
}

// No self-check: it runs on the CPU device, these compare with the reference.
Result<Quantized> quantized_as(const ir::Graph& graph, std::string_view precision,
                               const std::map<std::string, std::string>& layers = {}) {
  QuantizeOptions options;
  options.precision = *parse_precision(precision);
  for (const auto& [name, text] : layers) options.layers[name] = *parse_precision(text);
  options.self_check = false;
  return quantize(graph, samples_of({1, kSize, kSize, 3}, 16), options);
}

TEST(QuantizeWidths, MoreBitsComeCloser) {
  const ir::Graph graph = small_network(21);
  std::map<std::string, double> sqnr;
  for (const std::string precision : {"w4a8", "w8a8", "w8a16"}) {
    const auto quantized = quantized_as(graph, precision);
    ASSERT_TRUE(quantized.has_value()) << precision << ": " << quantized.error().to_string();
    sqnr[precision] = sqnr_db(graph, quantized->graph, {1, kSize, kSize, 3});
  }
  EXPECT_GT(sqnr["w4a8"], 10.0);
  EXPECT_GT(sqnr["w8a8"], sqnr["w4a8"] + 8);
  EXPECT_GT(sqnr["w8a16"], sqnr["w8a8"] + 3);
}

TEST(QuantizeWidths, FourBitWeightsArePackedAndSixteenBitActivationsHaveWideBiases) {
  const auto four = quantized_as(small_network(22), "w4a8");
  ASSERT_TRUE(four.has_value()) << four.error().to_string();
  const auto wide = quantized_as(small_network(22), "w8a16");
  ASSERT_TRUE(wide.has_value()) << wide.error().to_string();
  const auto operand_type = [](const ir::Graph& graph, const std::string& name, size_t operand) {
    for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
      if (graph.node(id).alive && graph.node(id).name == name) return graph.value(graph.node(id).inputs[operand]).type;
    }
    return ir::TensorType{};
  };
  EXPECT_EQ(operand_type(four->graph, "mix", 0).dtype, DataType::kI8);
  EXPECT_EQ(operand_type(four->graph, "mix", 1).dtype, DataType::kI4);
  EXPECT_EQ(operand_type(four->graph, "mix", 2).dtype, DataType::kI32);
  EXPECT_EQ(operand_type(wide->graph, "mix", 0).dtype, DataType::kI16);
  EXPECT_EQ(operand_type(wide->graph, "mix", 0).quantization->zero_points[0], 0);
  EXPECT_EQ(operand_type(wide->graph, "mix", 1).dtype, DataType::kI8);
  EXPECT_EQ(operand_type(wide->graph, "mix", 2).dtype, DataType::kI64);
  EXPECT_EQ(count_ops(wide->graph, "rescale"), 0U);
}

TEST(QuantizeWidths, LayersOfDifferentWidthsMeetInARescale) {
  const ir::Graph graph = small_network(23);
  const auto quantized = quantized_as(graph, "w8a8", {{"mix", "w8a16"}, {"branch", "float"}, {"head", "w4a8"}});
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  EXPECT_GE(count_ops(quantized->graph, "rescale"), 1U);
  EXPECT_GT(sqnr_db(graph, quantized->graph, {1, kSize, kSize, 3}), 12.0);
  const auto report = nlohmann::json::parse(quantized->report_json);
  std::map<std::string, std::string> precisions;
  for (const auto& layer : report["layers"]) precisions[layer["node"]] = layer["precision"];
  EXPECT_EQ(precisions["mix"], "w8a16");
  EXPECT_EQ(precisions["head"], "w4a8");
  EXPECT_EQ(precisions.count("branch"), 0U);
}

// One loud channel in front of a depthwise layer: 8 bits drown the others.
TEST(QuantizeWidths, LayersBehindRangeOutliersGetSixteenBits) {
  NetworkBuilder b(29);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  std::vector<float> gains(16, 0.02F);
  gains[3] = 300.0F;
  const ir::ValueId stem = b.conv(x, 3, 16, 3, "stem");
  const int64_t gain_dims[] = {16};
  const ir::ValueId loud = b.op("silu", {b.op("mul", {stem, ops::add_constant_f32(b.graph, "g", gain_dims, gains)})});
  std::vector<float> weights(16 * 9, 0.0F);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = 0.1F * static_cast<float>(i % 7) + 0.1F;
  const int64_t w_dims[] = {16, 3, 3, 1};
  const ir::ValueId depthwise = b.op("conv2d", {loud, ops::add_constant_f32(b.graph, "dw", w_dims, weights)},
                                     {{"groups", int64_t{16}}}, "depthwise");
  const ir::ValueId wide = b.op("silu", {b.conv(b.op("sigmoid", {depthwise}), 16, 64, 3, "wide")});
  b.graph.add_output(b.conv(wide, 64, 64, 3, "last"));
  QuantizeOptions options;
  options.self_check = false;
  const Dims dims{1, kSize, kSize, 3};
  const auto widened = quantize(b.graph, samples_of(dims, 16), options);
  ASSERT_TRUE(widened.has_value()) << widened.error().to_string();
  const auto report = nlohmann::json::parse(widened->report_json);
  EXPECT_EQ(report["widened"][0], "depthwise");
  for (const auto& name : report["widened"]) EXPECT_NE(name, "stem");  // the layer that feeds it
  options.widen = false;
  const auto narrow = quantize(b.graph, samples_of(dims, 16), options);
  ASSERT_TRUE(narrow.has_value()) << narrow.error().to_string();
  EXPECT_TRUE(nlohmann::json::parse(narrow->report_json)["widened"].empty());
  EXPECT_GT(sqnr_db(b.graph, widened->graph, dims), 30.0);
}

// The only layer of a model is more than 15 % of it: it gets 16 bits where 8 ruin it, else a warning.
TEST(QuantizeWidths, ALargeLayerIsWidenedWhereEightBitsRuinItElseNamed) {
  for (const float offset : {100.0F, 1000.0F}) {
    NetworkBuilder b(31);
    const ir::ValueId x = b.input({1, kSize, kSize, 3});
    const int64_t dims[] = {1};
    const ir::ValueId far = b.op("add", {x, ops::add_constant_f32(b.graph, "far", dims, std::vector<float>{offset})});
    b.graph.add_output(b.op("relu", {b.conv(far, 3, 8, 3, "only")}));
    QuantizeOptions options;
    options.self_check = false;
    const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 16), options);
    ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
    const auto report = nlohmann::json::parse(quantized->report_json);
    const bool ruined = offset > 500;
    EXPECT_EQ(report["widened"].size(), ruined ? 1U : 0U);
    EXPECT_EQ(std::any_of(quantized->warnings.begin(), quantized->warnings.end(),
                          [](const std::string& w) {
                            return w.find("coarse_input: only") == 0 && w.find("w8a16") != std::string::npos;
                          }),
              !ruined);
  }
}

// conv -> silu and conv -> add: what is looked up or added at once has 16 bits, what is stored has 8.
TEST(QuantizeWidths, WhatIsLookedUpOrAddedAtOnceKeepsSixteenBits) {
  NetworkBuilder b(3);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId stem = b.op("silu", {b.conv(x, 3, 16, 3, "stem")});
  const ir::ValueId sum = b.op("add", {b.conv(stem, 16, 16, 3, "linear"), stem});
  const ir::ValueId gated = b.op("add", {b.op("silu", {b.conv(sum, 16, 16, 1, "curved")}), sum});
  b.graph.add_output(b.conv(gated, 16, 8, 1, "head"));
  const Dims dims{1, kSize, kSize, 3};
  double sqnr[2];
  for (const bool wide : {false, true}) {
    QuantizeOptions options;
    options.wide_points = wide;
    const auto quantized = quantize(b.graph, samples_of(dims, 8), options);
    ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
    size_t points = 0;
    for (ir::NodeId id = 0; id < quantized->graph.node_slots(); ++id) {
      const ir::Node& node = quantized->graph.node(id);
      if (!node.alive || (node.op != "conv2d" && node.op != "silu")) continue;
      points += quantized->graph.value(node.outputs[0]).type.dtype == DataType::kI16 ? 1U : 0U;
    }
    EXPECT_EQ(points, wide ? 4U : 0U);  // stem, linear, curved and its silu
    EXPECT_EQ(count_ops(quantized->graph, "rescale"), 0U);
    sqnr[wide ? 1 : 0] = sqnr_db(b.graph, quantized->graph, dims);
  }
  EXPECT_GT(sqnr[1], sqnr[0] + 1.0);
}

// Additions, pools and concatenations between layers of 16 bits have 16 bits as well.
TEST(QuantizeWidths, SixteenBitsEverywhereLeaveNothingInEight) {
  NetworkBuilder b(4);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId stem = b.op("silu", {b.conv(x, 3, 16, 3, "stem")});
  const ir::ValueId sum = b.op("add", {b.op("silu", {b.conv(stem, 16, 16, 3, "inner")}), stem});
  const ir::ValueId twice = b.op("add", {sum, b.op("silu", {b.conv(sum, 16, 16, 1, "outer")})});
  const ir::ValueId joined = b.op("concat", {twice, stem}, {{"axis", int64_t{3}}});
  b.graph.add_output(b.conv(joined, 32, 8, 1, "head"));
  QuantizeOptions options;
  options.precision = {16, 16, false};
  const Dims dims{1, kSize, kSize, 3};
  const auto quantized = quantize(b.graph, samples_of(dims, 8), options);
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  for (ir::ValueId id = 0; id < quantized->graph.value_slots(); ++id) {
    const ir::Value& value = quantized->graph.value(id);
    if (!value.alive) continue;
    EXPECT_NE(value.type.dtype, DataType::kI8) << value.name;
  }
  EXPECT_GT(sqnr_db(b.graph, quantized->graph, dims), 65.0);
}

// The inside of a normalization feeds no layer directly: part of it ends in an f32 division.
TEST(QuantizeWidths, ANormalizationBetweenWideLayersIsWide) {
  NetworkBuilder b(6);
  const ir::ValueId x = b.conv(b.input({1, kSize, kSize, 3}), 3, 16, 3, "first");
  const ir::Attributes last{{"axes", std::vector<int64_t>{3}}, {"keep_dims", int64_t{1}}};
  const ir::ValueId centred = b.op("sub", {x, b.op("reduce_mean", {x}, last)});
  const ir::ValueId variance = b.op("reduce_mean", {b.op("square", {centred})}, last);
  b.graph.add_output(b.conv(b.op("div", {centred, b.op("sqrt", {variance})}), 16, 8, 1, "second"));
  QuantizeOptions options;
  options.precision = {16, 16, false};
  const Dims dims{1, kSize, kSize, 3};
  const auto quantized = quantize(b.graph, samples_of(dims, 16), options);
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  for (ir::ValueId id = 0; id < quantized->graph.value_slots(); ++id) {
    const ir::Value& value = quantized->graph.value(id);
    if (!value.alive) continue;
    EXPECT_NE(value.type.dtype, DataType::kI8) << value.name;
  }
  EXPECT_GT(sqnr_db(b.graph, quantized->graph, dims), 55.0);
}

TEST(QuantizeWidths, AnUnknownLayerIsAnErrorThatNamesTheLayers) {
  const auto refused = quantized_as(small_network(24), "w8a8", {{"nowhere", "w4a8"}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().id, "Q011");
  EXPECT_NE(refused.error().message.find("branch"), std::string::npos);
}

TEST(Quantize, NamesAreCheckedBeforeTheFirstSampleIsRead) {
  const auto refused_by = [](const QuantizeOptions& options) {
    int64_t read = 0;
    const NextSample samples = samples_of({1, kSize, kSize, 3}, 4);
    const auto refused = quantize(
        small_network(24),
        [&] {
          ++read;
          return samples();
        },
        options);
    EXPECT_EQ(read, 0);
    return refused ? std::string("none") : refused.error().id;
  };
  QuantizeOptions layers;
  layers.layers["nowhere"] = {8, 16, false};
  EXPECT_EQ(refused_by(layers), "Q011");
  QuantizeOptions kept;
  kept.keep_float = {"nowhere"};
  EXPECT_EQ(refused_by(kept), "Q010");
}

// Gains of a million on one channel of the first layer, and on the model's output.
ir::Graph with_large_results(float gain, uint32_t seed) {
  NetworkBuilder b(seed);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const NetworkBuilder::Gains one = {{1, 1, 1, gain, 1, 1, 1, 1}, {}};
  b.graph.add_output(b.conv(b.op("relu", {b.conv(x, 3, 8, 3, "a", one)}), 8, 4, 3, "b"));
  return std::move(b.graph);
}

TEST(QuantizeWidths, ResultsTooLargeForTheirBitsGetMore) {
  const Dims dims{1, kSize, kSize, 3};
  for (const auto& [gain, bits, expected] :
       std::vector<std::tuple<float, std::string, std::string>>{{1e4F, "w4a8", "w4a8"},
                                                                {1e6F, "w4a8", "w8a8"},
                                                                {3e7F, "w4a8", "w8a16"},
                                                                {3e7F, "w8a8", "w8a16"},
                                                                {1e9F, "w4a8", "w16a16"},
                                                                {1e15F, "w4a8", "float"},
                                                                {1e15F, "w16a16", "float"}}) {
    const ir::Graph graph = with_large_results(gain, 31);
    const auto quantized = quantized_as(graph, bits, {});
    ASSERT_TRUE(quantized.has_value()) << gain << bits << quantized.error().to_string();
    const bool warned = std::any_of(quantized->warnings.begin(), quantized->warnings.end(),
                                    [](const std::string& w) { return w.starts_with("large_results: b: "); });
    EXPECT_EQ(warned, expected != bits) << gain << bits;
    std::map<std::string, std::string> precisions;
    const auto report = nlohmann::json::parse(quantized->report_json);
    for (const auto& layer : report["layers"]) precisions[layer["node"]] = layer["precision"];
    EXPECT_EQ(precisions.contains("b") ? precisions["b"] : "float", expected) << gain << bits;
    EXPECT_GT(sqnr_db(graph, quantized->graph, dims), 10.0) << gain << bits;
  }
}

TEST(QuantizeWidths, ABiasBeyondItsLimitStaysUsable) {
  NetworkBuilder b(32);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const int64_t w_dims[] = {8, 1, 1, 3};
  const int64_t b_dims[] = {8};
  std::vector<float> weights(24, 0.5F);
  std::vector<float> bias(8, 0.0F);
  bias[3] = 1e12F;
  const ir::ValueId first =
      b.op("conv2d",
           {x, ops::add_constant_f32(b.graph, "w", w_dims, weights), ops::add_constant_f32(b.graph, "b", b_dims, bias)},
           {}, "a");
  b.graph.add_output(b.conv(b.op("relu6", {first}), 8, 4, 1, "b"));
  QuantizeOptions options;
  options.self_check = false;  // the range of the first result must hold its bias, so relu6 loses its steps
  const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4), options);
  EXPECT_TRUE(quantized.has_value()) << quantized.error().to_string();
}

TEST(QuantizeGuards, AModelWithNothingToQuantizeIsNamed) {
  const auto warnings_of = [](const ir::Graph& graph, const QuantizeOptions& options) {
    const auto quantized = quantize(graph, samples_of({1, kSize, kSize, 3}, 8), options);
    EXPECT_TRUE(quantized.has_value());
    std::string named;
    const auto report = nlohmann::json::parse(quantized->report_json);
    for (const auto& warning : report["warnings"]) {
      if (warning["id"] == "nothing_quantized") named = warning["message"];
    }
    EXPECT_EQ(named.empty(), std::none_of(quantized->warnings.begin(), quantized->warnings.end(),
                                          [](const auto& w) { return w.starts_with("nothing_quantized: "); }));
    return named;
  };
  NetworkBuilder lonely(33);
  lonely.graph.add_output(lonely.op("relu", {lonely.input({1, kSize, kSize, 3})}));
  EXPECT_NE(warnings_of(lonely.graph, {}).find("no convolution"), std::string::npos);
  NetworkBuilder b(34);
  b.graph.add_output(b.conv(b.input({1, kSize, kSize, 3}), 3, 4, 1, "a"));
  EXPECT_EQ(warnings_of(b.graph, {}), "");
  QuantizeOptions kept;
  kept.keep_float = {"a"};
  EXPECT_NE(warnings_of(b.graph, kept).find("all 1 layers"), std::string::npos);
  QuantizeOptions weights_alone;
  weights_alone.precision = {8, 32, false};
  EXPECT_EQ(warnings_of(b.graph, weights_alone), "");
}

TEST(QuantizeGuards, WarningsHaveNamesLayersAndRemedies) {
  NetworkBuilder b(25);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  b.graph.add_output(b.conv(b.op("relu", {b.conv(x, 3, 8, 3, "a", kZeroChannel)}), 8, 4, 1, "b"));
  const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4));
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  std::map<std::string, std::string> found;
  const auto report = nlohmann::json::parse(quantized->report_json);
  for (const auto& warning : report["warnings"]) {
    found[warning["id"]] = warning["layer"];
    EXPECT_FALSE(warning["remedy"].get<std::string>().empty());
  }
  EXPECT_EQ(found.count("few_samples"), 1U);
  EXPECT_EQ(found["zero_weights"], "a");
}

TEST(QuantizeGuards, AConstantInputIsNamed) {
  NetworkBuilder b(26);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  b.graph.add_output(b.conv(x, 3, 4, 1, "a"));
  int left = 3;
  const auto quantized = quantize(b.graph, [&]() -> Result<std::optional<std::vector<ops::Tensor>>> {
    if (left-- == 0) return std::optional<std::vector<ops::Tensor>>();
    std::vector<ops::Tensor> sample;
    sample.push_back(random_tensor({1, kSize, kSize, 3}, 1, 0.5F, 0.5F));
    return std::optional<std::vector<ops::Tensor>>(std::move(sample));
  });
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  EXPECT_NE(std::find_if(quantized->warnings.begin(), quantized->warnings.end(),
                         [](const std::string& w) { return w.starts_with("constant_input: x"); }),
            quantized->warnings.end());
}

TEST(QuantizeGuards, NanWeightsAreAnErrorThatNamesThem) {
  NetworkBuilder b(27);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const std::vector<float> weights = {1.0F, std::numeric_limits<float>::quiet_NaN(), 0.5F};
  const int64_t dims[] = {1, 1, 1, 3};
  b.graph.add_output(b.op("conv2d", {x, ops::add_constant_f32(b.graph, "broken", dims, weights)}, {}, "a"));
  const auto refused = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 4));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().id, "Q042");
  EXPECT_NE(refused.error().message.find("broken"), std::string::npos);
}

// Batch norm statistics say that the stem's results have mean 0 and deviation 1; samples far away are reported.
TEST(QuantizeGuards, SamplesUnlikeTheTrainingDataAreReported) {
  for (const bool foreign : {false, true}) {
    NetworkBuilder b(28);
    const ir::ValueId x = b.input({1, kSize, kSize, 3});
    const int64_t dims[] = {8};
    const auto vector = [&](const char* name, float value) {
      return ops::add_constant_f32(b.graph, name, dims, std::vector<float>(8, value));
    };
    const ir::ValueId norm = b.op("batch_norm", {b.conv(x, 3, 8, 3, "a"), vector("scale", 1), vector("offset", 0),
                                                 vector("mean", 0), vector("variance", 0.3F)});
    b.graph.add_output(b.conv(b.op("relu", {norm}), 8, 4, 1, "b"));
    int left = 16;
    const auto quantized = quantize(b.graph, [&]() -> Result<std::optional<std::vector<ops::Tensor>>> {
      if (left-- == 0) return std::optional<std::vector<ops::Tensor>>();
      std::vector<ops::Tensor> sample;
      const auto seed = static_cast<uint32_t>(left);
      sample.push_back(foreign ? random_tensor({1, kSize, kSize, 3}, seed, 20.0F, 40.0F)
                               : random_tensor({1, kSize, kSize, 3}, seed));
      return std::optional<std::vector<ops::Tensor>>(std::move(sample));
    });
    ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
    const bool reported = std::any_of(quantized->warnings.begin(), quantized->warnings.end(),
                                      [](const std::string& w) { return w.starts_with("out_of_domain"); });
    EXPECT_EQ(reported, foreign);
  }
}

TEST(Quantize, BadSamplesAreClearErrors) {
  NetworkBuilder b(7);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  b.graph.add_output(b.conv(x, 3, 4, 1, "a"));
  const auto error_of = [&](const NextSample& next) {
    const auto result = quantize(b.graph, next);
    return result.has_value() ? std::string("none") : result.error().id;
  };
  EXPECT_EQ(error_of(samples_of({1, kSize, kSize, 3}, 0)), "Q023");
  EXPECT_EQ(error_of(samples_of({1, kSize, kSize + 1, 3}, 1)), "Q024");
  EXPECT_EQ(error_of([]() -> Result<std::optional<std::vector<ops::Tensor>>> {
              return std::optional<std::vector<ops::Tensor>>(std::vector<ops::Tensor>());
            }),
            "Q021");
  EXPECT_EQ(error_of([]() -> Result<std::optional<std::vector<ops::Tensor>>> {
              std::vector<ops::Tensor> sample;
              sample.push_back(random_tensor({1, kSize, kSize, 3}, 1));
              data_of<float>(sample[0].mutable_view())[5] = std::numeric_limits<float>::quiet_NaN();
              return std::optional<std::vector<ops::Tensor>>(std::move(sample));
            }),
            "Q025");
}

TEST(Quantize, AQuantizedGraphIsRefused) {
  NetworkBuilder b(8);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  b.graph.add_output(b.conv(b.op("relu", {b.conv(x, 3, 8, 3, "a")}), 8, 4, 1, "b"));
  auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 2));
  ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
  const auto again = quantize(std::move(quantized->graph), samples_of({1, kSize, kSize, 3}, 2));
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().id, "Q040");
}

TEST(MakePlan, AClampSharesTheScaleOfWhatItClamps) {
  NetworkBuilder b(9);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId conv = b.conv(x, 3, 8, 3, "a");
  const ir::ValueId relu = b.op("relu", {conv});
  b.graph.add_output(b.conv(relu, 8, 4, 1, "b"));
  const auto plan = make_plan(b.graph, {});
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->group[conv], relu);
  EXPECT_FALSE(plan->observed[conv]);
  EXPECT_TRUE(plan->observed[relu]);
}

TEST(MakePlan, AClampWhoseInputIsReadElsewhereKeepsItsOwnScale) {
  NetworkBuilder b(10);
  const ir::ValueId x = b.input({1, kSize, kSize, 3});
  const ir::ValueId conv = b.conv(x, 3, 8, 3, "a");
  const ir::ValueId relu = b.op("relu", {conv});
  b.graph.add_output(b.conv(b.op("add", {relu, conv}), 8, 4, 1, "b"));
  const auto plan = make_plan(b.graph, {});
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->group[conv], conv);
  EXPECT_TRUE(plan->observed[conv]);
}

TEST(MakePlan, AClampThatOnlyFloatLayersReadStaysFloat) {
  NetworkBuilder b(5);
  ir::ValueId x = b.conv(b.input({1, kSize, kSize, 3}), 3, 8, 3, "first");
  x = b.op("relu", {x}, {}, "clamp");
  x = b.conv(x, 8, 8, 3, "float");
  b.graph.add_output(b.conv(x, 8, 4, 1, "last"));
  QuantizeOptions options;
  const auto clamp_is_integer = [&] {
    const auto plan = make_plan(b.graph, options);
    EXPECT_TRUE(plan.has_value());
    for (ir::NodeId id = 0; plan && id < b.graph.node_slots(); ++id) {
      if (b.graph.node(id).name == "clamp") return bool{plan->integer[id]};
    }
    return false;
  };
  EXPECT_TRUE(clamp_is_integer());
  options.layers["float"] = {8, 8, true};
  EXPECT_FALSE(clamp_is_integer());  // its reader gets unrounded numbers
}

// Rounding behind others depends on their bits, rounding alone does not.
TEST(QuantizeHooks, ALayerRoundedAloneDoesNotKnowTheOthers) {
  NetworkBuilder b(6);
  ir::ValueId x = b.conv(b.input({1, kSize, kSize, 3}), 3, 8, 3, "first");
  x = b.op("relu", {x});
  b.graph.add_output(b.conv(x, 8, 4, 3, "last"));
  const auto weights_of_last = [&](bool alone, int bits_of_first) {
    QuantizeOptions options;
    options.precision = {4, 8, false};
    options.layers["first"] = {bits_of_first, 8, false};
    options.adaround = true;
    options.adaround_options.iterations = 0;
    options.self_check = false;
    QuantizeHooks hooks;
    hooks.round_alone = alone;
    const auto quantized = quantize(b.graph, samples_of({1, kSize, kSize, 3}, 6), options, hooks);
    EXPECT_TRUE(quantized.has_value()) << (quantized ? "" : quantized.error().to_string());
    std::vector<std::byte> bytes;
    for (ir::NodeId id = 0; quantized && id < quantized->graph.node_slots(); ++id) {
      const ir::Node& node = quantized->graph.node(id);
      if (!node.alive || node.name != "last") continue;
      const auto stored = quantized->graph.value(node.inputs[1]).constant->bytes();
      bytes.assign(stored.begin(), stored.end());
    }
    EXPECT_FALSE(bytes.empty());
    return bytes;
  };
  EXPECT_EQ(weights_of_last(true, 4), weights_of_last(true, 8));
  EXPECT_NE(weights_of_last(false, 4), weights_of_last(false, 8));
}

}  // namespace
}  // namespace hai::quantizer

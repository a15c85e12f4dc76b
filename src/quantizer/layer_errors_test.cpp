// Layer errors: names the layer that was damaged, isolated against accumulated, equalized channels, graphs that do not
// match, what 16 bits bring, the document and its forms.
#include "quantizer/layer_errors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "compiler/compile.h"
#include "quantizer/accuracy_report.h"
#include "quantizer/test_network.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kSize = 13;

using Network = testing::NetworkBuilder;

// stem -> relu -> middle -> (+ stem) -> pool -> head: [1, 1, 1, 7]. Gains: as an equalization between stem and middle
// would leave it (only without the addition).
ir::Graph network(bool residual, const std::vector<float>& gain = {}) {
  Network n(21);
  const ir::ValueId x =
      n.graph.add_input("x", {DataType::kF32, to_shape(std::vector<int64_t>{1, kSize, kSize, 3}), {}});
  const ir::ValueId stem = n.op("relu", {n.conv(x, 3, 16, 3, "stem", {gain, {}})}, {}, "stem.relu");
  const ir::ValueId middle = n.op("silu", {n.conv(stem, 16, 16, 3, "middle", {{}, gain})}, {}, "middle.silu");
  const ir::ValueId sum = residual ? n.op("add", {middle, stem}, {}, "sum") : middle;
  const ir::ValueId pooled =
      n.op("reduce_mean", {sum}, {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{1}}});
  n.graph.add_output(n.conv(pooled, 16, 7, 1, "head"));
  return n.graph;
}

NextSample samples(int count, float bad = 0.0F) {
  return [count, bad, index = 0]() mutable -> Result<std::optional<std::vector<ops::Tensor>>> {
    if (index == count) return std::optional<std::vector<ops::Tensor>>();
    std::vector<ops::Tensor> sample;
    sample.push_back(ops::Tensor::zeros(DataType::kF32, {1, kSize, kSize, 3}));
    std::mt19937 random(static_cast<uint32_t>(40 + index++));
    std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
    const MutableTensorView view = sample[0].mutable_view();
    std::generate_n(data_of<float>(view), view.count(), [&] { return uniform(random); });
    if (bad != 0.0F) data_of<float>(view)[7] = bad;
    return std::optional<std::vector<ops::Tensor>>(std::move(sample));
  };
}

ir::Graph quantized(const ir::Graph& graph) {
  QuantizeOptions options;
  options.equalize = false;  // channels as these tests make them
  auto result = quantize(graph, samples(8), options);
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().to_string());
  return result ? std::move(result->graph) : ir::Graph{};
}

// Rounds the i8 weights of a node to multiples of 32: as if they had 3 bits.
void coarsen(ir::Graph& graph, const std::string& name) {
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    if (!graph.node(id).alive || graph.node(id).name != name || graph.node(id).op != "conv2d") continue;
    ir::Value& weights = graph.value(graph.node(id).inputs[1]);
    const auto bytes = weights.constant->bytes();
    auto data = ir::ConstantData::allocate(bytes.size());
    for (size_t i = 0; i < bytes.size(); ++i) {
      const int q = std::clamp((static_cast<int>(static_cast<int8_t>(bytes[i])) + 128) / 32 * 32 - 128, -127, 127);
      data->mutable_bytes()[i] = static_cast<std::byte>(static_cast<int8_t>(q));
    }
    weights.constant = std::move(data);
    return;
  }
  FAIL() << name;
}

const LayerError& layer_of(const LayerErrors& errors, std::string_view name) {
  for (const LayerError& layer : errors.layers) {
    if (layer.name == name) return layer;
  }
  ADD_FAILURE() << "no layer " << name;
  return errors.layers.front();
}

TEST(MeasureLayers, FindsTheLayerThatWasDamagedAndWhatItCosts) {
  const ir::Graph reference = network(true);
  ir::Graph damaged = quantized(reference);
  coarsen(damaged, "middle");
  const auto errors = measure_layers(reference, damaged, samples(6));
  ASSERT_TRUE(errors.has_value()) << errors.error().to_string();
  EXPECT_EQ(errors->samples, 6);
  EXPECT_TRUE(errors->unpaired.empty());
  const auto worst = std::min_element(errors->layers.begin(), errors->layers.end(), [](const auto& a, const auto& b) {
    return a.isolated->sqnr_db() < b.isolated->sqnr_db();
  });
  EXPECT_EQ(worst->name, "middle");
  EXPECT_LT(worst->isolated->sqnr_db(), 15.0);  // three bits give about 12 dB
  const LayerError& stem = layer_of(*errors, "stem");
  EXPECT_GT(stem.isolated->sqnr_db(), 30.0);
  EXPECT_GT(stem.accumulated.sqnr_db(), 30.0);  // nothing before it was damaged
  EXPECT_EQ(stem.weight_bits, 8);
  EXPECT_GT(stem.macs, 0);
  // The head reads damaged tensors: its own error stays small, the accumulated one is large.
  const LayerError& head = layer_of(*errors, "head");
  EXPECT_GT(head.isolated->sqnr_db(), head.accumulated.sqnr_db() + 6.0);
  ASSERT_TRUE(worst->wider.has_value());
  EXPECT_GT(worst->wider->sqnr_after_db, worst->wider->sqnr_before_db + 6.0);
  EXPECT_LT(worst->wider->kl_after, worst->wider->kl_before / 4);
  ASSERT_EQ(errors->outputs.size(), 1U);
  EXPECT_TRUE(errors->outputs[0].classes);
  EXPECT_EQ(errors->outputs[0].answers.size(), 6U);
}

TEST(MeasureLayers, AFusedFileGivesTheSameErrors) {
  const ir::Graph reference = network(true);
  const ir::Graph plain = quantized(reference);
  ir::Graph fused = plain;
  ASSERT_TRUE(prepare_quantized(fused).has_value());
  const auto a = measure_layers(reference, plain, samples(3));
  const auto b = measure_layers(reference, fused, samples(3));
  ASSERT_TRUE(a.has_value() && b.has_value());
  ASSERT_EQ(a->layers.size(), b->layers.size());
  for (size_t i = 0; i < a->layers.size(); ++i) {
    EXPECT_EQ(a->layers[i].name, b->layers[i].name);
    EXPECT_EQ(a->layers[i].accumulated.sqnr_db(), b->layers[i].accumulated.sqnr_db());  // same integers
    EXPECT_EQ(a->layers[i].isolated->sqnr_db(), b->layers[i].isolated->sqnr_db());
  }
}

TEST(MeasureLayers, EqualizedChannelsAreComparedAtTheirOwnSize) {
  std::vector<float> gain(16);
  for (size_t i = 0; i < gain.size(); ++i) gain[i] = std::exp2(static_cast<float>(i % 7) - 3.0F);
  const auto errors = measure_layers(network(false), quantized(network(false, gain)), samples(4));
  ASSERT_TRUE(errors.has_value()) << errors.error().to_string();
  const LayerError& stem = layer_of(*errors, "stem");
  EXPECT_TRUE(stem.equalized);
  EXPECT_GT(stem.accumulated.cosine(), 0.99);
  const LayerError& middle = layer_of(*errors, "middle");
  EXPECT_FALSE(middle.equalized);
  EXPECT_GT(middle.isolated->sqnr_db(), 10.0);  // sizes compared as they are would be below 3 dB
  EXPECT_FALSE(layer_of(*measure_layers(network(false), quantized(network(false)), samples(2)), "stem").equalized);
}

TEST(MeasureLayers, ModelsThatDoNotMatchAndBadSamplesAreClearErrors) {
  const ir::Graph reference = network(true);
  const ir::Graph good = quantized(reference);
  const auto id_of = [](const Result<LayerErrors>& result) { return result ? std::string("none") : result.error().id; };
  EXPECT_EQ(id_of(measure_layers(reference, good, samples(0))), "Q067");
  EXPECT_EQ(id_of(measure_layers(good, reference, samples(2))), "Q075");
  EXPECT_EQ(id_of(measure_layers(good, good, samples(2))), "none");
  EXPECT_EQ(id_of(measure_layers(reference, good, samples(1, std::numeric_limits<float>::quiet_NaN()))), "Q069");
  Network other(5);
  const ir::ValueId x =
      other.graph.add_input("x", {DataType::kF32, to_shape(std::vector<int64_t>{1, kSize, kSize, 3}), {}});
  other.graph.add_output(other.conv(x, 3, 7, 1, "unknown"));
  EXPECT_EQ(id_of(measure_layers(other.graph, good, samples(1))), "Q063");  // outputs of another shape
  Network wide(5);
  const ir::ValueId y = wide.graph.add_input("x", {DataType::kF32, to_shape(std::vector<int64_t>{1, 5, 5, 3}), {}});
  wide.graph.add_output(wide.conv(y, 3, 7, 1, "head"));
  EXPECT_EQ(id_of(measure_layers(wide.graph, good, samples(1))), "Q063");
}

TEST(AccuracyReport, DocumentTextAndPageAgree) {
  const ir::Graph reference = network(true);
  ir::Graph damaged = quantized(reference);
  coarsen(damaged, "middle");
  const auto errors = measure_layers(reference, damaged, samples(4));
  ASSERT_TRUE(errors.has_value()) << errors.error().to_string();
  ReportFacts facts;
  facts.float_model = "a <b>.onnx";
  facts.quantized_model = "c.hai";
  facts.skipped = {{"broken.png", "cut short"}};
  const std::string json = accuracy_json(*errors, facts);
  const auto document = nlohmann::json::parse(json);
  EXPECT_EQ(document["layers"].size(), errors->layers.size());
  EXPECT_EQ(document["average_weight_bits"], 8.0);
  const std::string advice = document["advice"][0];
  EXPECT_NE(advice.find("\"middle\""), std::string::npos) << advice;
  EXPECT_NE(advice.find("16 bits"), std::string::npos) << advice;
  const auto text = accuracy_text(json, 2);
  ASSERT_TRUE(text.has_value()) << text.error().to_string();
  EXPECT_LT(text->find("middle"), text->find("stem"));
  EXPECT_NE(text->find("skipped: broken.png: cut short"), std::string::npos);
  const auto page = accuracy_html(json);
  ASSERT_TRUE(page.has_value()) << page.error().to_string();
  EXPECT_NE(page->find("a &lt;b&gt;.onnx"), std::string::npos);
  EXPECT_EQ(page->find("<b>.onnx"), std::string::npos);
  for (const char* outside : {"http:", "https:", "src=", "@import", "url("})
    EXPECT_EQ(page->find(outside), std::string::npos) << outside;
  EXPECT_EQ(accuracy_text("{}", 3).error().id, "Q072");
  EXPECT_EQ(accuracy_html("[1").error().id, "Q074");
  auto broken = document;
  broken["layers"][0].erase("name");
  EXPECT_EQ(accuracy_text(broken.dump(), 0).error().id, "Q071");
  EXPECT_EQ(accuracy_html(broken.dump()).error().id, "Q073");
}

}  // namespace
}  // namespace hai::quantizer

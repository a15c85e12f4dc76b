// Which layers become winograd_conv2d, what the report says of each, and that the network stays close to the float one
// and the same on the CPU device as on the reference.
#include "quantizer/winograd_layers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "ops/interpreter.h"
#include "quantizer/compiled_graph.h"
#include "quantizer/graph_pairing.h"
#include "quantizer/mixed_cost.h"
#include "quantizer/quantizer.h"
#include "quantizer/test_network.h"

namespace hai::quantizer {
namespace {

using testing::NetworkBuilder;

const Dims kDims{1, 26, 19, 3};

ops::Tensor random_tensor(uint32_t seed) {
  ops::Tensor tensor = ops::Tensor::zeros(DataType::kF32, kDims);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
  const MutableTensorView view = tensor.mutable_view();
  std::generate_n(data_of<float>(view), view.count(), [&] { return uniform(random); });
  return tensor;
}

NextSample samples() {
  return [index = 0U]() mutable -> Result<std::optional<std::vector<ops::Tensor>>> {
    if (index == 12) return std::optional<std::vector<ops::Tensor>>();
    std::vector<ops::Tensor> sample;
    sample.push_back(random_tensor(100 + index++));
    return std::optional<std::vector<ops::Tensor>>(std::move(sample));
  };
}

// A shortcut, a table, a 1x1 layer and one whose sums are handed out in f32.
ir::Graph network() {
  NetworkBuilder b(1);
  const ir::ValueId x = b.input({kDims[0], kDims[1], kDims[2], kDims[3]});
  const ir::ValueId stem = b.op("relu", {b.conv(x, 3, 32, 3, "stem")}, {}, "stem_relu");
  const ir::ValueId branch = b.op("silu", {b.conv(stem, 32, 32, 3, "branch")});
  const ir::ValueId sum = b.op("add", {b.conv(branch, 32, 32, 3, "project"), stem});
  const ir::ValueId narrow = b.op("relu", {b.conv(sum, 32, 16, 1, "narrow")}, {}, "narrow_relu");
  b.graph.add_output(b.conv(narrow, 16, 5, 3, "head"));
  return std::move(b.graph);
}

std::vector<std::string> names_of(const ir::Graph& graph, std::string_view op) {
  std::vector<std::string> names;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    if (graph.node(id).alive && graph.node(id).op == op) names.push_back(graph.node(id).name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

double sqnr_db(const TensorView& a, const TensorView& b) {
  double signal = 0;
  double noise = 0;
  for (int64_t i = 0; i < a.count(); ++i) {
    const auto want = static_cast<double>(data_of<float>(a)[i]);
    const double difference = static_cast<double>(data_of<float>(b)[i]) - want;
    signal += want * want;
    noise += difference * difference;
  }
  return 10 * std::log10(signal / noise);
}

Quantized quantized(Winograd choice) {
  QuantizeOptions options;
  options.winograd = choice;
  auto out = quantize(network(), samples(), options);
  EXPECT_TRUE(out.has_value()) << out.error().to_string();
  return std::move(*out);
}

TEST(WinogradLayers, AllTakesEveryEligibleLayer) {
  const Quantized result = quantized(Winograd::kAll);
  EXPECT_EQ(names_of(result.graph, "winograd_conv2d"), (std::vector<std::string>{"branch", "head", "project", "stem"}));
  EXPECT_EQ(names_of(result.graph, "conv2d"), std::vector<std::string>{"narrow"});
  const auto report = nlohmann::json::parse(result.report_json)["winograd"];
  EXPECT_EQ(report["choice"], "all");
  ASSERT_EQ(report["layers"].size(), 4U);
  for (const auto& row : report["layers"]) {
    EXPECT_EQ(row["tile"], 4) << row;
    EXPECT_GT(row["direct"]["sqnr_db"], row["f4"]["sqnr_db"]) << row;
    EXPECT_GT(row["f4"]["sqnr_db"], 12.0) << row;  // noise, the worst input there is, gives 15 dB
    EXPECT_GT(row["f2"]["sqnr_db"], 28.0) << row;
  }
}

TEST(WinogradLayers, TheNetworkIsCloseAndTheSameOnTheDevice) {
  const std::vector<ops::Tensor> inputs = {random_tensor(7)};
  const auto want = ops::interpret(network(), inputs);
  ASSERT_TRUE(want);
  const Quantized result = quantized(Winograd::kAll);
  const auto reference = ops::interpret(result.graph, inputs);
  ASSERT_TRUE(reference) << reference.error().to_string();
  EXPECT_GT(sqnr_db(want->outputs[0].view(), reference->outputs[0].view()), 11.0);
  auto compiled = CompiledGraph::make(result.graph, 2);
  ASSERT_TRUE(compiled) << compiled.error().to_string();
  const auto got = compiled->run(inputs);
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(std::memcmp((*got)[0].data, reference->outputs[0].storage.data(), reference->outputs[0].storage.size()), 0);
}

TEST(WinogradLayers, AutoTakesWhatIsCheaperAndCloseEnough) {
  const Quantized result = quantized(Winograd::kAuto);
  const auto report = nlohmann::json::parse(result.report_json)["winograd"];
  ASSERT_EQ(report["layers"].size(), 4U);
  std::vector<std::string> chosen;
  for (const auto& row : report["layers"]) {
    const int tile = row["tile"];
    if (tile == 0) continue;
    chosen.push_back(row["node"]);
    const auto& form = row[tile == 2 ? "f2" : "f4"];
    EXPECT_LT(form["modelled_cycles"], row["direct"]["modelled_cycles"]) << row;
    EXPECT_GE(form["sqnr_db"], row["direct"]["sqnr_db"].get<double>() - QuantizeOptions().winograd_loss_db) << row;
  }
  std::sort(chosen.begin(), chosen.end());
  EXPECT_EQ(names_of(result.graph, "winograd_conv2d"), chosen);
  // Three channels do not fill a block of 16.
  EXPECT_EQ(std::find(chosen.begin(), chosen.end(), "stem"), chosen.end());
}

TEST(WinogradLayers, ReportsOfErrorsFindTheirFloatLayers) {
  ir::Graph reference = network();
  ir::Graph integer = quantized(Winograd::kAll).graph;
  ASSERT_TRUE(prepare_reference(reference));
  ASSERT_TRUE(prepare_quantized(integer));
  const auto pairing = pair_graphs(reference, integer);
  ASSERT_TRUE(pairing) << pairing.error().to_string();
  EXPECT_TRUE(pairing->unpaired.empty());
  std::vector<std::string> found;
  for (const PairedLayer& layer : pairing->layers) {
    if (integer.node(layer.node).op == "winograd_conv2d") found.push_back(reference.node(layer.float_node).name);
  }
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, (std::vector<std::string>{"branch", "head", "project", "stem"}));
}

TEST(WinogradLayers, OffChangesNothing) {
  const Quantized result = quantized(Winograd::kOff);
  EXPECT_TRUE(names_of(result.graph, "winograd_conv2d").empty());
  EXPECT_FALSE(nlohmann::json::parse(result.report_json).contains("winograd"));
}

TEST(WinogradLayers, WhereNoLayerIsEligibleAWarningSaysSo) {
  QuantizeOptions options;
  options.precision = *parse_precision("w16a16");
  for (const Winograd choice : {Winograd::kAuto, Winograd::kAll, Winograd::kOff}) {
    options.winograd = choice;
    const auto result = quantize(network(), samples(), options);
    ASSERT_TRUE(result) << result.error().to_string();
    const bool said = std::any_of(result->warnings.begin(), result->warnings.end(), [](const std::string& warning) {
      return warning.find("no layer can run by Winograd") != std::string::npos;
    });
    EXPECT_EQ(said, choice != Winograd::kOff);
    EXPECT_TRUE(names_of(result->graph, "winograd_conv2d").empty());
  }
}

TEST(WinogradLayers, OtherPrecisionsStayDirect) {
  QuantizeOptions options;
  options.winograd = Winograd::kAll;
  options.widen = false;
  options.layers = {{"branch", {8, 16, false}}, {"stem", {4, 8, false}}, {"head", {8, 8, true}}};
  const auto result = quantize(network(), samples(), options);
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(names_of(result->graph, "winograd_conv2d"), std::vector<std::string>{"project"});
}

// A layer between two others, some of whose channels have weights times `gain`.
ir::Graph network_with(float gain, int64_t channels) {
  NetworkBuilder b(1);
  const ir::ValueId x = b.input({kDims[0], kDims[1], kDims[2], kDims[3]});
  const ir::ValueId stem = b.op("relu", {b.conv(x, 3, 32, 1, "stem")}, {}, "stem_relu");
  NetworkBuilder::Gains gains;
  gains.outputs.assign(32, 1.0F);
  std::fill_n(gains.outputs.begin() + (32 - channels) / 2, channels, gain);
  const ir::ValueId middle = b.op("relu", {b.conv(stem, 32, 32, 3, "middle", gains)}, {}, "middle_relu");
  b.graph.add_output(b.conv(middle, 32, 8, 1, "head"));
  return std::move(b.graph);
}

TEST(WinogradLayers, ChannelsWithoutWeightsChangeNoChoice) {
  const std::vector<ops::Tensor> inputs = {random_tensor(7)};
  for (const float gain : {0.0F, 1e-8F, 1e-20F}) {
    for (const int64_t channels : {int64_t{1}, int64_t{32}}) {
      for (const Winograd choice : {Winograd::kAuto, Winograd::kAll}) {
        SCOPED_TRACE(::testing::Message() << gain << " in " << channels << ", " << winograd_name(choice));
        QuantizeOptions options;
        options.winograd = choice;
        const auto result = quantize(network_with(gain, channels), samples(), options);
        ASSERT_TRUE(result) << result.error().to_string();
        EXPECT_EQ(names_of(result->graph, "winograd_conv2d"), std::vector<std::string>{"middle"});
        const auto row = nlohmann::json::parse(result->report_json)["winograd"]["layers"][0];
        EXPECT_FALSE(row["f4"].contains("impossible")) << row;
        const auto want = ops::interpret(network_with(gain, channels), inputs);
        ASSERT_TRUE(want);
        const auto reference = ops::interpret(result->graph, inputs);
        ASSERT_TRUE(reference) << reference.error().to_string();
        EXPECT_GT(sqnr_db(want->outputs[0].view(), reference->outputs[0].view()), 11.0);
        auto compiled = CompiledGraph::make(result->graph, 2);
        ASSERT_TRUE(compiled) << compiled.error().to_string();
        const auto got = compiled->run(inputs);
        ASSERT_TRUE(got) << got.error().to_string();
        EXPECT_EQ(
            std::memcmp((*got)[0].data, reference->outputs[0].storage.data(), reference->outputs[0].storage.size()), 0);
      }
    }
  }
}

Quantized halves(Winograd choice, NextSample next) {
  QuantizeOptions options;
  options.precision = *parse_precision("f16");
  options.winograd = choice;
  auto out = quantize(network(), next, options);
  EXPECT_TRUE(out.has_value()) << out.error().to_string();
  return std::move(*out);
}

NextSample no_samples() {
  return []() -> Result<std::optional<std::vector<ops::Tensor>>> { return std::optional<std::vector<ops::Tensor>>(); };
}

TEST(WinogradLayers, F16TakesEveryLayerAndStaysCloseToThem) {
  const std::vector<ops::Tensor> inputs = {random_tensor(7)};
  const auto want = ops::interpret(network(), inputs);
  ASSERT_TRUE(want);
  const Quantized result = halves(Winograd::kAll, samples());
  EXPECT_EQ(names_of(result.graph, "winograd_conv2d"), (std::vector<std::string>{"branch", "head", "project", "stem"}));
  const auto report = nlohmann::json::parse(result.report_json);
  ASSERT_EQ(report["winograd"]["layers"].size(), 4U);
  for (const auto& row : report["winograd"]["layers"]) {
    // Roundings of 11 bits: 70 dB direct; F(2x2) adds those of taps, F(4x4) weighs them by up to 64.
    EXPECT_GT(row["direct"]["sqnr_db"], 68.0) << row;
    EXPECT_GT(row["f2"]["sqnr_db"], 62.0) << row;
    EXPECT_GT(row["f4"]["sqnr_db"], 46.0) << row;
    EXPECT_GT(row["f2"]["sqnr_db"], row["f4"]["sqnr_db"]) << row;
  }
  const auto reference = ops::interpret(result.graph, inputs);
  ASSERT_TRUE(reference) << reference.error().to_string();
  EXPECT_GT(sqnr_db(want->outputs[0].view(), reference->outputs[0].view()), 42.0);
  auto compiled = CompiledGraph::make(result.graph, 2);
  ASSERT_TRUE(compiled) << compiled.error().to_string();
  const auto got = compiled->run(inputs);
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(std::memcmp((*got)[0].data, reference->outputs[0].storage.data(), reference->outputs[0].storage.size()), 0);
}

TEST(WinogradLayers, F16TakesWhatIsCheaperAndGoodEnough) {
  const Quantized result = halves(Winograd::kAuto, samples());
  const auto report = nlohmann::json::parse(result.report_json)["winograd"];
  ASSERT_EQ(report["layers"].size(), 4U);
  size_t chosen = 0;
  for (const auto& row : report["layers"]) {
    const int tile = row["tile"];
    if (tile == 0) continue;
    ++chosen;
    const auto& form = row[tile == 2 ? "f2" : "f4"];
    EXPECT_LT(form["modelled_cycles"], row["direct"]["modelled_cycles"]) << row;
    EXPECT_GE(form["sqnr_db"], 50.0) << row;  // 60 dB less the limit
  }
  EXPECT_EQ(names_of(result.graph, "winograd_conv2d").size(), chosen);
  EXPECT_GE(chosen, 2U);
}

TEST(WinogradLayers, F16WithoutSamplesTakesAllOrNone) {
  EXPECT_EQ(names_of(halves(Winograd::kAll, no_samples()).graph, "winograd_conv2d").size(), 4U);
  EXPECT_TRUE(names_of(halves(Winograd::kAuto, no_samples()).graph, "winograd_conv2d").empty());
}

TEST(WinogradLayers, F16StaysDirectWhereTilesMayOverflow) {
  // 2,000 times 100 is beyond f16, 2,000 times 4 is not.
  NetworkBuilder b(1);
  const ir::ValueId x = b.input({kDims[0], kDims[1], kDims[2], kDims[3]});
  NetworkBuilder::Gains gains;
  gains.outputs.assign(32, 2000.0F);
  b.graph.add_output(b.conv(b.conv(x, 3, 32, 1, "loud", gains), 32, 32, 3, "layer"));
  for (const Winograd choice : {Winograd::kAuto, Winograd::kAll}) {
    QuantizeOptions options;
    options.precision = *parse_precision("f16");
    options.winograd = choice;
    const auto result = quantize(b.graph, samples(), options);
    ASSERT_TRUE(result) << result.error().to_string();
    const auto row = nlohmann::json::parse(result->report_json)["winograd"]["layers"][0];
    EXPECT_TRUE(row["f4"].contains("impossible")) << row;
    EXPECT_FALSE(row["f2"].contains("impossible")) << row;
    EXPECT_EQ(row["tile"], choice == Winograd::kAll ? 0 : 2) << row;
  }
}

TEST(WinogradLayers, CyclesAreTheMachines) {
  // 6 x 6 tiles of 16 x 16 channels: 9 cycles on one of two cores; and 36 weights where there were 9.
  EXPECT_NEAR(winograd_cycles(4, 40, 40, 64, 64), 100 * 16 * 4.5 + 36 * 64 * 64 / 21.76, 1e-6);
  EXPECT_NEAR(winograd_cycles(2, 40, 40, 64, 64), 400 * 16 * 2.0 + 16 * 64 * 64 / 21.76, 1e-6);
  EXPECT_EQ(winograd_cycles(4, 37, 1, 16, 17), 10 * 2 * 4.5 + 36 * 16 * 17 / 21.76);
  EXPECT_NEAR(winograd_cycles(4, 40, 40, 64, 64, true), 100 * 16 * 18.0 + 2 * 36 * 64 * 64 / 21.76, 1e-6);
}

}  // namespace
}  // namespace hai::quantizer

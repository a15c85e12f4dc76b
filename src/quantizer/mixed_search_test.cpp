// The mixed search on small networks: a goal decides the bits, the front is ordered, cheap goals cost less, float joins
// where 16 bits are not enough, bad input is refused.
#include "quantizer/mixed_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "ops/build.h"
#include "quantizer/mixed_cost.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kSize = 11;

// With the mean over the picture its output holds classes, without it is a map.
ir::Graph network(bool classes = true) {
  ir::Graph graph;
  graph.name = "test";
  std::mt19937 random(9);
  const auto conv = [&](ir::ValueId x, int64_t in, int64_t out, int64_t kernel, const std::string& name) {
    std::normal_distribution<float> normal(0.0F, 1.4F / std::sqrt(static_cast<float>(in * kernel * kernel)));
    std::vector<float> weights(static_cast<size_t>(out * kernel * kernel * in));
    std::generate(weights.begin(), weights.end(), [&] { return normal(random); });
    const int64_t dims[] = {out, kernel, kernel, in};
    ops::AppendOptions options;
    options.node_name = name;
    const int64_t pad = kernel / 2;
    return *ops::append_value(graph, "conv2d", {x, ops::add_constant_f32(graph, name + ".w", dims, weights)},
                              {{"pads", std::vector<int64_t>{pad, pad, pad, pad}}}, std::move(options));
  };
  ir::ValueId x = graph.add_input("x", {DataType::kF32, to_shape(std::vector<int64_t>{1, kSize, kSize, 3}), {}});
  x = *ops::append_value(graph, "relu", {conv(x, 3, 8, 3, "stem")});
  x = *ops::append_value(graph, "relu", {conv(x, 8, 24, 3, "wide")});
  x = *ops::append_value(graph, "relu", {conv(x, 24, 8, 1, "narrow")});
  if (classes)
    x = *ops::append_value(graph, "reduce_mean", {x},
                           {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{1}}});
  graph.add_output(conv(x, 8, 5, 1, "head"));
  return graph;
}

NextSample samples(int count) {
  return [count, index = 0]() mutable -> Result<std::optional<std::vector<ops::Tensor>>> {
    if (index == count) return std::optional<std::vector<ops::Tensor>>();
    std::vector<ops::Tensor> sample;
    sample.push_back(ops::Tensor::zeros(DataType::kF32, {1, kSize, kSize, 3}));
    std::mt19937 random(static_cast<uint32_t>(70 + index++));
    std::normal_distribution<float> normal(0.0F, 1.0F + static_cast<float>(index % 3));
    const MutableTensorView view = sample[0].mutable_view();
    std::generate_n(data_of<float>(view), view.count(), [&] { return normal(random); });
    return std::optional<std::vector<ops::Tensor>>(std::move(sample));
  };
}

nlohmann::json search(double max_drop, std::map<std::string, Precision>* layers = nullptr,
                      const ir::Graph& graph = network(), const QuantizeOptions& given = {}) {
  QuantizeOptions options = given;
  options.self_check = false;  // random weights hold no classes worth keeping
  options.max_drop = max_drop;
  auto result = search_mixed(graph, samples(16), options);
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().to_string());
  if (!result) return {};
  if (layers != nullptr) *layers = result->layers;
  EXPECT_TRUE(ops::verify(result->quantized.graph).has_value());
  return nlohmann::json::parse(result->json);
}

TEST(SearchMixed, TheGoalDecidesTheBits) {
  std::map<std::string, Precision> loose_layers;
  const auto loose = search(90, &loose_layers);
  ASSERT_EQ(loose["layers"].size(), 4U);
  EXPECT_TRUE(loose["reached"]);
  EXPECT_EQ(loose["choice"]["average_weight_bits"], 4.0);  // anything goes, so the cheapest
  EXPECT_EQ(loose_layers.at("wide").weight_bits, 4);
  // A goal below what 4 bits give needs more of them somewhere.
  const double four = loose["choice"]["points_high"];
  const auto tight = search(0.6 * four);
  EXPECT_GT(tight["choice"]["average_weight_bits"].get<double>(), 4.0);
  EXPECT_GT(tight["choice"]["cost"].get<double>(), loose["choice"]["cost"].get<double>());
  ASSERT_TRUE(tight["reached"]);
  EXPECT_TRUE(tight["choice"]["verified"]);
  EXPECT_LE(tight["choice"]["points_high"].get<double>(), 0.6 * four);
  EXPECT_LE(tight["choice"]["points_low"].get<double>(), tight["choice"]["points"].get<double>());
  const auto& front = loose["front"];
  ASSERT_EQ(front.size(), 5U);
  for (size_t i = 1; i < front.size(); ++i) {
    EXPECT_GT(front[i]["cost"].get<double>(), front[i - 1]["cost"].get<double>());
  }
  EXPECT_NE(loose["text"].get<std::string>().find("Pareto front"), std::string::npos);
}

TEST(SearchMixed, IsDeterministic) { EXPECT_EQ(search(20).dump(), search(20).dump()); }

TEST(SearchMixed, RoundsWhatItMeasuresAsItIsTold) {
  QuantizeOptions options;
  options.self_check = false;
  options.max_drop = 90;
  const auto nearest = search_mixed(network(), samples(16), options);
  options.adaround = true;
  options.adaround_options.iterations = 0;
  const auto rounded = search_mixed(network(), samples(16), options);
  ASSERT_TRUE(nearest.has_value());
  ASSERT_TRUE(rounded.has_value()) << rounded.error().to_string();
  const auto damage = [](const MixedResult& result) {
    return nlohmann::json::parse(result.json)["choice"]["damage"].get<double>();
  };
  EXPECT_NE(damage(*rounded), damage(*nearest));
  EXPECT_EQ(nearest->quantized.report_json.find("error_solved"), std::string::npos);
  EXPECT_NE(rounded->quantized.report_json.find("error_solved"), std::string::npos);
}

// One channel is so loud that the others vanish on its scale, at 16 bits too; nothing listens to it.
TEST(SearchMixed, FloatJoinsWhereSixteenBitsAreNotEnough) {
  ir::Graph graph = network();
  const ir::ValueId wide = *graph.find_value("wide.w");
  const ir::ValueId narrow = *graph.find_value("narrow.w");
  const auto scaled = [&](ir::ValueId id, auto&& factor) {
    const ir::Value& value = graph.value(id);
    const auto* from = reinterpret_cast<const float*>(value.constant->bytes().data());
    std::vector<float> weights(from, from + value.constant->bytes().size() / sizeof(float));
    for (size_t i = 0; i < weights.size(); ++i) weights[i] *= factor(i);
    std::vector<int64_t> dims;
    for (const Dim& dim : value.type.shape) dims.push_back(dim.value);
    const ir::ValueId replacement = ops::add_constant_f32(graph, value.name + ".loud", dims, weights);
    graph.replace_uses(id, replacement);
  };
  scaled(wide, [](size_t i) { return i < size_t{9} * 8 ? 1e4F : 1.0F; });  // output channel 0
  scaled(narrow, [](size_t i) { return i % 24 == 0 ? 0.0F : 1.0F; });      // what reads it
  graph.erase_dead();
  std::map<std::string, Precision> layers;
  QuantizeOptions options;
  options.widen = false;
  const auto found = search(2, &layers, graph, options);
  ASSERT_TRUE(found["reached"]) << found["text"];
  EXPECT_TRUE(layers.at("narrow").is_float) << found["text"];
  EXPECT_LT(found["choice"]["points_high"].get<double>(), 2);
}

TEST(SearchMixed, WithoutClassesErrorsCount) {
  const ir::Graph graph = network(false);
  const auto found = search(100, nullptr, graph);
  ASSERT_TRUE(found.is_object());
  EXPECT_EQ(found["steered_by"], "error energy of the outputs");
  EXPECT_EQ(found["views"], 1);
  EXPECT_EQ(found["choice"]["average_weight_bits"], 4.0);
  EXPECT_NEAR(found["choice"]["points"].get<double>(), 100 * std::sqrt(found["choice"]["damage"].get<double>()), 1e-6);
  const auto tight = search(0.7 * found["choice"]["points_high"].get<double>(), nullptr, graph);
  EXPECT_TRUE(tight["reached"]);
  EXPECT_GT(tight["choice"]["average_weight_bits"].get<double>(), 4.0);
}

TEST(SearchMixed, WhatTheCallerFixedStays) {
  QuantizeOptions options;
  options.layers["wide"] = {8, 8, false};
  options.keep_float = {"head"};
  std::map<std::string, Precision> layers;
  const auto found = search(90, &layers, network(), options);
  EXPECT_EQ(layers.count("head"), 0U);
  EXPECT_EQ(layers.count("wide"), 0U);
  EXPECT_EQ(layers.at("narrow").weight_bits, 4);
}

TEST(SearchMixed, NamesAreCheckedBeforeTheFirstSampleIsRead) {
  QuantizeOptions layers;
  layers.max_drop = 1;
  QuantizeOptions kept = layers;
  layers.layers["nowhere"] = {8, 16, false};
  kept.keep_float = {"nowhere"};
  for (const auto& [options, id] : {std::pair(layers, "Q011"), std::pair(kept, "Q010")}) {
    int64_t read = 0;
    const NextSample all = samples(16);
    const auto refused = search_mixed(
        network(),
        [&] {
          ++read;
          return all();
        },
        options);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().id, id);
    EXPECT_EQ(read, 0);
  }
}

TEST(SearchMixed, BadInputIsRefused) {
  const auto id_of = [](int count, double max_drop) {
    QuantizeOptions options;
    options.max_drop = max_drop;
    const auto result = search_mixed(network(), samples(count), options);
    return result ? std::string("none") : result.error().id;
  };
  EXPECT_EQ(id_of(7, 1), "Q080");
  EXPECT_EQ(id_of(0, 1), "Q080");
  for (const double wrong : {0.0, -1.0, 100.5, std::numeric_limits<double>::infinity(), std::nan("")})
    EXPECT_EQ(id_of(16, wrong), "Q081") << wrong;
  QuantizeOptions options;
  options.max_drop = 1;
  for (const char* name : {"stem", "wide", "narrow", "head"}) options.layers[name] = {8, 8, false};
  const auto nothing = search_mixed(network(), samples(16), options);
  ASSERT_FALSE(nothing.has_value());
  EXPECT_EQ(nothing.error().id, "Q082");
  const auto once = quantize(network(), samples(16), options);
  ASSERT_FALSE(once.has_value());
  EXPECT_EQ(once.error().id, "Q059");
}

TEST(MixedCost, FewerBitsNeverCostMore) {
  const Precision four{4, 8, false};
  const Precision eight{8, 8, false};
  const Precision sixteen{16, 16, false};
  for (const int64_t macs : {1000, 10000000}) {
    EXPECT_LT(layer_cycles(four, macs, 5000), layer_cycles(eight, macs, 5000));
    EXPECT_LT(layer_cycles(eight, macs, 5000), layer_cycles(sixteen, macs, 5000));
    EXPECT_LE(layer_cycles(sixteen, macs, 5000), layer_cycles({32, 32, true}, macs, 5000));
  }
}

}  // namespace
}  // namespace hai::quantizer

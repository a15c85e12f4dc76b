// The mixed search on a small network: a goal decides the bits, the front is ordered, cheap goals cost less, bad input
// is refused; and the forecast of points against simulated answers.
#include "quantizer/mixed_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "ops/build.h"
#include "quantizer/drop_forecast.h"
#include "quantizer/mixed_cost.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kSize = 11;

ir::Graph network() {
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
  x = *ops::append_value(graph, "reduce_mean", {x}, {{"axes", std::vector<int64_t>{1, 2}}, {"keep_dims", int64_t{1}}});
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

nlohmann::json search(double max_drop, std::map<std::string, Precision>* layers = nullptr) {
  MixedOptions mixed;
  mixed.max_drop = max_drop;
  QuantizeOptions options;
  options.self_check = false;  // random weights hold no classes worth keeping
  auto result = search_mixed(network(), samples(16), options, mixed);
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
  // A goal between what 4 and what 8 bits give needs something between them, or 8 bits.
  const double four = loose["choice"]["points"];
  const auto tight = search(0.6 * four);
  EXPECT_GT(tight["choice"]["average_weight_bits"].get<double>(), 4.0);
  EXPECT_GT(tight["choice"]["cost"].get<double>(), loose["choice"]["cost"].get<double>());
  if (tight["reached"]) {
    EXPECT_LE(tight["choice"]["points"].get<double>(), 0.6 * four);
  }
  const auto& front = loose["front"];
  ASSERT_EQ(front.size(), 5U);
  for (size_t i = 1; i < front.size(); ++i) {
    EXPECT_GT(front[i]["cost"].get<double>(), front[i - 1]["cost"].get<double>());
  }
  EXPECT_NE(loose["text"].get<std::string>().find("Pareto front"), std::string::npos);
}

TEST(SearchMixed, IsDeterministic) { EXPECT_EQ(search(20).dump(), search(20).dump()); }

TEST(SearchMixed, BadInputIsRefused) {
  const auto id_of = [](int count, double max_drop) {
    MixedOptions mixed;
    mixed.max_drop = max_drop;
    const auto result = search_mixed(network(), samples(count), {}, mixed);
    return result ? std::string("none") : result.error().id;
  };
  EXPECT_EQ(id_of(7, 1), "Q080");
  EXPECT_EQ(id_of(16, 0), "Q081");
  EXPECT_EQ(id_of(16, std::nan("")), "Q081");
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

// Answers with margins and Gaussian disturbances of known size; what is forecast from some is counted on many.
TEST(DropForecast, ForecastsWhatASimulationCounts) {
  std::mt19937 random(4);
  std::exponential_distribution<double> margin(1.0 / 3.0);
  std::normal_distribution<double> disturbance(0.0, 0.4);
  OutputScore score;
  score.classes = true;
  for (int i = 0; i < 400; ++i) {
    ClassAnswer answer;
    answer.margins = {margin(random)};
    answer.regrets = {std::tanh(answer.margins[0] / 2)};
    answer.disturbances = {disturbance(random)};
    answer.kl = 0.01;
    score.answers.push_back(answer);
  }
  int64_t overturned = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) overturned += margin(random) + disturbance(random) < 0 ? 1 : 0;
  const double expected = static_cast<double>(overturned) / kDraws;
  const DropForecast forecast = forecast_drop({score}, 1);
  EXPECT_NEAR(forecast.overturned, expected, 0.35 * expected);  // 400 exponential margins: 15 % at one sigma
  EXPECT_LT(forecast.overturned_low, forecast.overturned);
  EXPECT_GT(forecast.overturned_high, forecast.overturned);
  EXPECT_GE(forecast.points, 25 * forecast.overturned);  // a changed answer costs at least a quarter
  EXPECT_LE(forecast.points, 100 * forecast.overturned);
  EXPECT_NEAR(forecast.damage, 0.01, 1e-12);
}

TEST(DropForecast, NoDisturbanceIsNoDrop) {
  OutputScore score;
  score.classes = true;
  for (int i = 0; i < 5; ++i) score.answers.push_back({0, true, 0, {0.1, 2.0}, {0.05, 0.6}, {0, 0}});
  const DropForecast forecast = forecast_drop({score}, 1);
  EXPECT_EQ(forecast.points, 0);
  EXPECT_EQ(forecast.overturned_high, 0);
}

}  // namespace
}  // namespace hai::quantizer

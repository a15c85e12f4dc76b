// Pruning: how many weights go and which, that no channel dies, zeros that stay zero as integers, loss measured.
#include "quantizer/prune.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "passes/testing/graph_builder.h"
#include "quantizer/quantizer.h"
#include "quantizer/weights.h"

namespace hai::quantizer {
namespace {

using passes::testing::GraphBuilder;

Shape nhwc(int64_t h, int64_t w, int64_t c) { return {Dim(1, 0), Dim(h), Dim(w), Dim(c)}; }

// A convolution, a depthwise one, a product; 13 x 13 pictures.
ir::Graph small_network() {
  GraphBuilder b;
  b.graph.symbols = {{"N", 1, 16}};
  const auto x = b.input(nhwc(13, 13, 3));
  auto y = b.node("conv2d", {x, b.constant({16, 3, 3, 3})});
  y = b.node("relu", {y});
  y = b.node("conv2d", {y, b.constant({16, 3, 3, 1})}, {{"groups", int64_t{16}}});
  y = b.node("conv2d", {y, b.constant({19, 1, 1, 16})});
  b.graph.add_output(y);
  return std::move(b.graph);
}

std::vector<float> weights_of(const ir::Graph& graph, size_t layer) {
  size_t seen = 0;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    const ir::Node& node = graph.node(id);
    if (!node.alive || node.op != "conv2d" || seen++ != layer) continue;
    const auto values = floats_of(graph.value(node.inputs[1]));
    return {values.begin(), values.end()};
  }
  return {};
}

NextSample random_samples(int count, uint32_t seed) {
  auto random = std::make_shared<std::mt19937>(seed);
  auto left = std::make_shared<int>(count);
  return [random, left]() -> Result<std::optional<std::vector<ops::Tensor>>> {
    if ((*left)-- <= 0) return std::optional<std::vector<ops::Tensor>>();
    ops::Tensor tensor = ops::Tensor::zeros(DataType::kF32, {1, 13, 13, 3});
    const MutableTensorView view = tensor.mutable_view();
    std::uniform_real_distribution<float> values(-1, 1);
    for (int64_t i = 0; i < view.count(); ++i) data_of<float>(view)[i] = values(*random);
    std::vector<ops::Tensor> sample;
    sample.push_back(std::move(tensor));
    return std::optional<std::vector<ops::Tensor>>(std::move(sample));
  };
}

TEST(Prune, RemovesTheShareAskedForAndNoChannel) {
  for (const double sparsity : {0.0, 0.3, 0.5, 0.9}) {
    for (const PruneScope scope : {PruneScope::kGlobal, PruneScope::kLayer}) {
      ir::Graph graph = small_network();
      const auto report = prune(graph, sparsity, scope);
      ASSERT_TRUE(report) << report.error().to_string();
      EXPECT_EQ(report->weight_count, 432 + 144 + 304);
      EXPECT_EQ(report->layers.size(), 3U);
      int64_t zeros = 0;
      for (size_t layer = 0; layer < 3; ++layer) {
        const std::vector<float> weights = weights_of(graph, layer);
        const auto count = std::count(weights.begin(), weights.end(), 0.0F);
        EXPECT_EQ(report->layers[layer].zero_count, count);
        const size_t inner = std::vector<size_t>{27, 9, 16}[layer];
        if (scope == PruneScope::kLayer) {
          // One weight of each channel stays, whatever was asked for.
          const auto most = static_cast<int64_t>(weights.size() - weights.size() / inner);
          const auto asked = static_cast<int64_t>(sparsity * static_cast<double>(weights.size()));
          EXPECT_GE(count, std::min(asked, most)) << layer;
        }
        for (size_t channel = 0; channel < weights.size() / inner; ++channel) {
          EXPECT_TRUE(std::any_of(weights.begin() + static_cast<ptrdiff_t>(channel * inner),
                                  weights.begin() + static_cast<ptrdiff_t>((channel + 1) * inner),
                                  [](float w) { return w != 0.0F; }))
              << "layer " << layer << " channel " << channel << " at " << sparsity;
        }
        zeros += count;
      }
      EXPECT_EQ(report->zero_count, zeros);
      if (scope == PruneScope::kGlobal) {
        EXPECT_EQ(zeros, static_cast<int64_t>(std::ceil(sparsity * 880 - 1e-9))) << sparsity;
      }
    }
  }
}

// Within a channel the smallest go, and what stays is as it was.
TEST(Prune, TakesTheSmallestOfAChannel) {
  ir::Graph graph = small_network();
  const std::vector<float> before = weights_of(graph, 2);
  ASSERT_TRUE(prune(graph, 0.4));
  const std::vector<float> after = weights_of(graph, 2);
  for (size_t channel = 0; channel < 19; ++channel) {
    float largest_gone = 0;
    float smallest_kept = INFINITY;
    for (size_t i = channel * 16; i < (channel + 1) * 16; ++i) {
      if (after[i] == 0.0F) {
        largest_gone = std::max(largest_gone, std::abs(before[i]));
      } else {
        EXPECT_EQ(after[i], before[i]);
        smallest_kept = std::min(smallest_kept, std::abs(before[i]));
      }
    }
    EXPECT_LE(largest_gone, smallest_kept) << channel;
  }
}

// A channel a thousand times smaller than the others, as BatchNorm may leave it, loses no more than they do.
TEST(Prune, ScalesOfChannelsDoNotMatter) {
  ir::Graph scaled = small_network();
  ir::Graph plain = small_network();
  const ir::Node& node = scaled.node(0);
  ASSERT_EQ(node.op, "conv2d");
  const ir::Value old = scaled.value(node.inputs[1]);
  std::vector<float> values(floats_of(old).begin(), floats_of(old).end());
  for (size_t i = 0; i < 27; ++i) values[27 * 5 + i] *= 0x1p-10F;
  scaled.set_input(0, 1,
                   scaled.add_constant("w", old.type, ir::ConstantData::copy_of(std::as_bytes(std::span(values)))));
  ASSERT_TRUE(prune(scaled, 0.3));
  ASSERT_TRUE(prune(plain, 0.3));
  const std::vector<float> a = weights_of(scaled, 0);
  const std::vector<float> b = weights_of(plain, 0);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i] == 0.0F, b[i] == 0.0F) << i;
}

TEST(Prune, RefusesWhatItCannotDo) {
  ir::Graph graph = small_network();
  for (const double sparsity : {-0.1, 1.0, 7.0, static_cast<double>(NAN)})
    EXPECT_EQ(prune(graph, sparsity).error().id, "Q180");
  GraphBuilder b;
  b.graph.add_output(b.node("relu", {b.input({Dim(3), Dim(4)})}));
  EXPECT_EQ(prune(b.graph, 0.3).error().id, "Q181");
}

TEST(Prune, QuantizedZerosAreZerosAndTheLossIsReported) {
  QuantizeOptions options;
  options.sparsity = 0.5;
  options.threads = 1;
  options.force = true;  // random weights
  const auto result = quantize(small_network(), random_samples(12, 3), options);
  ASSERT_TRUE(result) << result.error().to_string();
  int64_t zeros = 0;
  for (ir::ValueId id = 0; id < result->graph.value_slots(); ++id) {
    const ir::Value& value = result->graph.value(id);
    if (!value.alive || !value.is_constant() || value.type.dtype != DataType::kI8) continue;
    for (const std::byte byte : value.constant->bytes()) zeros += byte == std::byte{0} ? 1 : 0;
  }
  EXPECT_GE(zeros, 440);  // and some that rounding made
  const auto report = nlohmann::json::parse(result->report_json);
  EXPECT_EQ(report["pruning"]["zeros"], 440);
  EXPECT_EQ(report["pruning"]["weights"], 880);
  EXPECT_EQ(report["pruning"]["layers"].size(), 3U);
  EXPECT_EQ(report["pruning"]["samples"], 8);
  const double cosine = report["pruning"]["outputs"][0]["cosine"];
  EXPECT_GT(cosine, 0.5);
  EXPECT_LT(cosine, 1.0);
  EXPECT_GT(report["pruning"]["outputs"][0]["sqnr_db"], 0.0);
  options.sparsity = 0;
  const auto dense = quantize(small_network(), random_samples(12, 3), options);
  ASSERT_TRUE(dense) << dense.error().to_string();
  EXPECT_FALSE(nlohmann::json::parse(dense->report_json).contains("pruning"));
}

}  // namespace
}  // namespace hai::quantizer

// Weights as integers: layouts, rounding, bounds on scales, packed constants.
#include "quantizer/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "types/arithmetic.h"

namespace hai::quantizer {
namespace {

std::vector<float> random_weights(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> weights(count);
  for (float& w : weights) w = normal(random);
  return weights;
}

ir::Node node_of(const std::string& op, int64_t transpose_b = 0) {
  ir::Node node;
  node.op = op;
  if (transpose_b != 0) node.attributes["transpose_b"] = transpose_b;
  return node;
}

TEST(LayoutOf, FindsTheOutputChannels) {
  const ChannelLayout conv = layout_of(node_of("conv2d"), {7, 3, 3, 5});
  EXPECT_EQ(conv.channels, 7);
  EXPECT_EQ(conv.inner, 45);
  const ChannelLayout columns = layout_of(node_of("matmul"), {5, 13});
  EXPECT_EQ(columns.channels, 13);
  EXPECT_EQ(columns.channel_of(27), 1U);
  const ChannelLayout rows = layout_of(node_of("matmul", 1), {13, 5});
  EXPECT_EQ(rows.channels, 13);
  EXPECT_EQ(rows.channel_of(27), 5U);
}

TEST(RoundWeights, ErrsByHalfAStepAtMost) {
  const ChannelLayout layout{7, 13, 0};
  const std::vector<float> weights = random_weights(91, 3);
  for (const int bits : {4, 8, 16}) {
    const QuantizedWeights rounded = round_weights(weights, layout, largest_scales(weights, layout, bits), bits);
    for (size_t i = 0; i < weights.size(); ++i) {
      const float scale = rounded.scales[layout.channel_of(i)];
      EXPECT_LE(std::abs(rounded.values[i]), weight_limit(bits));
      EXPECT_NEAR(static_cast<float>(rounded.values[i]) * scale, weights[i], 0.5001F * scale) << bits << " " << i;
    }
  }
  const auto sqnr = [&](int bits) {
    return weight_sqnr_db(weights, layout, round_weights(weights, layout, largest_scales(weights, layout, bits), bits));
  };
  EXPECT_NEAR(sqnr(8) - sqnr(4), 24, 3);  // 6 dB a bit
  EXPECT_NEAR(sqnr(16) - sqnr(8), 48, 3);
}

TEST(LeastErrorScales, BeatTheLargestAtFourBits) {
  const ChannelLayout layout{13, 127, 0};
  const std::vector<float> weights = random_weights(13 * 127, 9);
  const auto sqnr = [&](std::vector<float> scales) {
    return weight_sqnr_db(weights, layout, round_weights(weights, layout, std::move(scales), 4));
  };
  EXPECT_GT(sqnr(least_error_scales(weights, layout, 4)), sqnr(largest_scales(weights, layout, 4)) + 0.5);
  for (const float scale : least_error_scales(std::vector<float>(13 * 127, 0.0F), layout, 4)) EXPECT_GT(scale, 0.0F);
}

TEST(BoundedScales, KeepMultiplierAndBiasInRange) {
  const std::vector<float> weights = {0, 0, 1e-20F, 0, 1, -1};
  const ChannelLayout layout{3, 2, 0};
  const std::vector<float> bias = {0.5F, 1000.0F, 0.25F};
  const ScaleBounds bounds{0.01, 0.1, bias, 8388608.0};
  const std::vector<float> scales = bounded_scales(largest_scales(weights, layout, 8), bounds);
  for (size_t c = 0; c < 3; ++c) {
    EXPECT_NE(hai_multiplier_usable(hai_multiplier_product(0.01F, scales[c], 0.1F)), 0) << c;
    EXPECT_LE(bias[c] / (0.01F * scales[c]), 8388609.0F) << c;
  }
  EXPECT_FLOAT_EQ(scales[2], 1.0F / 127);
  EXPECT_EQ(zero_channel_count(weights, layout), 1);
}

TEST(AddWeightConstant, PacksTwoNibblesAByte) {
  ir::Graph graph;
  const ChannelLayout layout{3, 1, 0};
  const ir::ValueId four = add_weight_constant(graph, "w4", {3, 1}, layout, {{-7, 5, 7}, {1, 2, 3}, 4, {}});
  const auto bytes = graph.value(four).constant->bytes();
  ASSERT_EQ(bytes.size(), 2U);
  EXPECT_EQ(bytes[0], std::byte{0x59});
  EXPECT_EQ(bytes[1], std::byte{0x07});
  EXPECT_EQ(graph.value(four).type.dtype, DataType::kI4);
  const ir::ValueId wide = add_weight_constant(graph, "w16", {3, 1}, layout, {{-300, 5, 32767}, {1, 2, 3}, 16, {}});
  EXPECT_EQ(graph.value(wide).constant->bytes().size(), 6U);
  EXPECT_EQ(graph.value(wide).constant->bytes()[0], std::byte{0xd4});
  const ir::ValueId eight = add_weight_constant(graph, "w8", {3, 1}, layout, {{-127, 5, 127}, {1, 2, 3}, 8, {}});
  EXPECT_EQ(graph.value(eight).constant->bytes()[0], std::byte{0x81});
  EXPECT_TRUE(ir::verify_structure(graph).has_value());
}

}  // namespace
}  // namespace hai::quantizer

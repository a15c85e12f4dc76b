// Range observers: histograms that grow and merge, ranges that beat min-max where they should and never lose zero.
#include "quantizer/observer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace hai::quantizer {
namespace {

std::vector<float> normal_values(size_t count, uint32_t seed, float scale) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

double mean_square_error(const std::vector<float>& values, const Quantization& quantization) {
  double error = 0;
  for (const float value : values) {
    const double scaled = std::nearbyint(static_cast<double>(value) / static_cast<double>(quantization.scales[0]));
    const double q = std::clamp(scaled + quantization.zero_points[0], -128.0, 127.0);
    const double back = (q - quantization.zero_points[0]) * static_cast<double>(quantization.scales[0]);
    error += (back - static_cast<double>(value)) * (back - static_cast<double>(value));
  }
  return error / static_cast<double>(values.size());
}

TEST(AffineI8, ZeroIsExactAndTheEndsAreReached) {
  for (const auto& [low, high] : {std::pair{-1.0, 3.0}, {0.0, 6.0}, {-5.0, -1.0}, {2.0, 7.0}, {-0.3, 0.001}}) {
    const Quantization q = affine_i8(low, high, false);
    const double scale = static_cast<double>(q.scales[0]);
    EXPECT_GE(q.zero_points[0], -128);
    EXPECT_LE(q.zero_points[0], 127);
    EXPECT_LE((-128 - q.zero_points[0]) * scale, std::min(low, 0.0) + 0.51 * scale);
    EXPECT_GE((127 - q.zero_points[0]) * scale, std::max(high, 0.0) - 0.51 * scale);
  }
  EXPECT_EQ(affine_i8(-3, 1, true).zero_points[0], 0);
  EXPECT_FLOAT_EQ(affine_i8(-3, 1, true).scales[0], 3.0F / 127);
}

TEST(RangeObserver, MinMaxIsTheWholeRange) {
  RangeObserver observer;
  ASSERT_TRUE(observer.add(std::vector<float>{-1.0F, 0.5F}));
  ASSERT_TRUE(observer.add(std::vector<float>{3.0F}));
  EXPECT_FLOAT_EQ(observer.min(), -1.0F);
  EXPECT_FLOAT_EQ(observer.max(), 3.0F);
  EXPECT_FLOAT_EQ(observer.choose(Observer::kMinMax, false).scales[0], 4.0F / 255);
}

TEST(RangeObserver, MeanSquareErrorIsNeverAboveMinMax) {
  for (const uint32_t seed : {1U, 2U, 3U}) {
    std::vector<float> values = normal_values(20000, seed, 1.0F);
    values.push_back(60.0F);  // one outlier
    RangeObserver observer;
    ASSERT_TRUE(observer.add(values));
    const double best = mean_square_error(values, observer.choose(Observer::kMse, false, 100.0));
    const double whole = mean_square_error(values, observer.choose(Observer::kMinMax, false));
    EXPECT_LT(best, whole) << seed;
  }
}

// One value in 20,000, so far out that clipping it errs more than all steps together: the percentile does not keep it.
TEST(RangeObserver, MeanSquareErrorKeepsNothingBeyondThePercentile) {
  std::vector<float> values = normal_values(20000, 4, 1.0F);
  values.push_back(60.0F);
  RangeObserver observer;
  ASSERT_TRUE(observer.add(values));
  const float kept = observer.choose(Observer::kMse, false, 100.0).scales[0];
  const float capped = observer.choose(Observer::kMse, false).scales[0];
  EXPECT_GT(kept, 20.0F / 255);
  EXPECT_LE(capped, observer.choose(Observer::kPercentile, false).scales[0]);
  EXPECT_LT(capped, 10.0F / 255);
  EXPECT_GT(capped, 4.0F / 255);
}

TEST(RangeObserver, PercentileCutsBothEnds) {
  std::vector<float> values;
  for (int i = 0; i <= 10000; ++i) values.push_back(static_cast<float>(i) * 0.001F - 2.0F);
  RangeObserver observer;
  ASSERT_TRUE(observer.add(values));
  const Quantization cut = observer.choose(Observer::kPercentile, false, 90.0);
  EXPECT_NEAR(cut.scales[0], 9.0 / 255, 0.01 * 9 / 255);  // 5 % at either end of [-2, 8]
  EXPECT_NEAR(observer.clipped_share(cut), 0.1, 0.005);
  EXPECT_NEAR(observer.choose(Observer::kPercentile, false, 100.0).scales[0], 10.0 / 255, 0.001 * 10 / 255);
  EXPECT_EQ(observer.clipped_share(observer.choose(Observer::kMinMax, false)), 0.0);
}

TEST(RangeObserver, DivergenceCutsAFarOutlierAndKeepsAPlainTensor) {
  std::vector<float> values = normal_values(50000, 5, 1.0F);
  RangeObserver plain;
  ASSERT_TRUE(plain.add(values));
  values.push_back(80.0F);
  RangeObserver observer;
  ASSERT_TRUE(observer.add(values));
  const float whole = observer.choose(Observer::kMinMax, false).scales[0];
  EXPECT_LT(observer.choose(Observer::kKl, false).scales[0], 0.4F * whole);
  EXPECT_GT(plain.choose(Observer::kKl, false).scales[0], 0.4F * plain.choose(Observer::kMinMax, false).scales[0]);
}

TEST(RangeObserver, DivergenceOfAFewValuesIsLeftAlone) {
  std::vector<float> values(576);
  std::mt19937 random(4);
  std::exponential_distribution<float> draw(1.0F);
  std::generate(values.begin(), values.end(), [&] { return draw(random); });
  RangeObserver observer;
  ASSERT_TRUE(observer.add(values));
  EXPECT_EQ(observer.choose(Observer::kKl, false), observer.choose(Observer::kMse, false));
}

TEST(RangeObserver, BehindAFunctionFlatPartsGetNoSteps) {
  std::vector<float> values = normal_values(50000, 6, 6.0F);
  RangeObserver observer;
  ASSERT_TRUE(observer.add(values));
  const RangeObserver::Function relu6 = [](double x) { return std::clamp(x, 0.0, 6.0); };
  const Quantization behind = observer.choose_behind({&relu6, 1}, false);
  const auto scale = static_cast<double>(behind.scales[0]);
  EXPECT_GT((-128 - behind.zero_points[0]) * scale, -4.0);
  EXPECT_NEAR((127 - behind.zero_points[0]) * scale, 6.0, 1.0);
}

TEST(RangeObserver, AUniformTensorKeepsItsRange) {
  std::vector<float> values;
  for (int i = 0; i <= 1000; ++i) values.push_back(static_cast<float>(i) * 0.006F);
  RangeObserver observer;
  ASSERT_TRUE(observer.add(values));
  EXPECT_NEAR(observer.choose(Observer::kMse, false).scales[0], 6.0 / 255, 6.0 / 255 * 0.04);  // one step of the search
}

TEST(RangeObserver, OrderAndSplitDoNotMatter) {
  const std::vector<float> small = normal_values(5000, 7, 0.01F);
  const std::vector<float> large = normal_values(5000, 8, 100.0F);
  RangeObserver together;
  RangeObserver reversed;
  RangeObserver first;
  RangeObserver second;
  ASSERT_TRUE(together.add(small) && together.add(large));
  ASSERT_TRUE(reversed.add(large) && reversed.add(small));
  ASSERT_TRUE(first.add(small) && second.add(large));
  first.merge(second);
  EXPECT_EQ(first.choose(Observer::kMse, false), together.choose(Observer::kMse, false));
  // Bins that were filled while the histogram was fine may be off by one after merging: half a percent of the scale.
  EXPECT_NEAR(reversed.choose(Observer::kMse, false).scales[0], together.choose(Observer::kMse, false).scales[0],
              0.04 * static_cast<double>(together.choose(Observer::kMse, false).scales[0]));
}

TEST(RangeObserver, ZerosOnlyStillGiveAUsableScale) {
  RangeObserver observer;
  ASSERT_TRUE(observer.add(std::vector<float>(13, 0.0F)));
  const Quantization q = observer.choose(Observer::kMse, false);
  EXPECT_GT(q.scales[0], 0.0F);
  ASSERT_TRUE(observer.add(std::vector<float>{2.0F}));
  EXPECT_NEAR(observer.choose(Observer::kMinMax, false).scales[0], 2.0 / 255, 1e-9);
}

TEST(RangeObserver, NonFiniteValuesAreReported) {
  RangeObserver observer;
  EXPECT_FALSE(observer.add(std::vector<float>{1.0F, std::numeric_limits<float>::quiet_NaN()}));
  EXPECT_FALSE(observer.add(std::vector<float>{1.0F, std::numeric_limits<float>::infinity()}));
}

TEST(RangeObserver, ChannelMeans) {
  RangeObserver observer(2);
  ASSERT_TRUE(observer.add(std::vector<float>{1, 10, 3, 20}));
  ASSERT_TRUE(observer.add(std::vector<float>{5, 30}));
  EXPECT_EQ(observer.channel_means(), (std::vector<float>{3, 20}));
}

}  // namespace
}  // namespace hai::quantizer

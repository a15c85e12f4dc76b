// Streaming errors against direct formulas; histograms that count everything while they grow.
#include "quantizer/tensor_errors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace hai::quantizer {
namespace {

TEST(TensorErrors, MatchesDirectFormulasOverAStream) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0F, 2.0F);
  TensorErrors errors;
  double signal = 0;
  double noise = 0;
  double dot = 0;
  double energy = 0;
  double largest = 0;
  for (const size_t size : {1U, 13U, 127U}) {
    std::vector<float> a(size);
    std::vector<float> b(size);
    for (size_t i = 0; i < size; ++i) {
      a[i] = normal(random);
      b[i] = a[i] + 0.01F * normal(random);
      const double x = static_cast<double>(a[i]);
      const double y = static_cast<double>(b[i]);
      signal += x * x;
      energy += y * y;
      dot += x * y;
      noise += (x - y) * (x - y);
      largest = std::max(largest, std::abs(x - y));
    }
    EXPECT_TRUE(errors.add(a, b));
  }
  EXPECT_EQ(errors.count(), 141);
  EXPECT_NEAR(errors.cosine(), dot / std::sqrt(signal * energy), 1e-12);
  EXPECT_NEAR(errors.sqnr_db(), 10 * std::log10(signal / noise), 1e-9);
  EXPECT_DOUBLE_EQ(errors.max_abs_error(), largest);
}

TEST(TensorErrors, ZerosAndEqualTensorsHaveAMeaning) {
  TensorErrors equal;
  const std::vector<float> x{1.0F, -2.0F};
  const std::vector<float> zero{0.0F, 0.0F};
  ASSERT_TRUE(equal.add(x, x));
  EXPECT_EQ(equal.sqnr_db(), std::numeric_limits<double>::infinity());
  EXPECT_DOUBLE_EQ(equal.cosine(), 1.0);
  TensorErrors lost;
  ASSERT_TRUE(lost.add(zero, x));
  EXPECT_EQ(lost.sqnr_db(), -std::numeric_limits<double>::infinity());
  EXPECT_DOUBLE_EQ(lost.cosine(), 0.0);
}

TEST(TensorErrors, RefusesWhatIsNotFiniteAndKeepsItsSums) {
  TensorErrors errors;
  const std::vector<float> x{1.0F, 2.0F};
  const std::vector<float> bad{1.0F, std::numeric_limits<float>::quiet_NaN()};
  const std::vector<float> endless{std::numeric_limits<float>::infinity(), 2.0F};
  ASSERT_TRUE(errors.add(x, x));
  EXPECT_FALSE(errors.add(x, bad));
  EXPECT_FALSE(errors.add(endless, x));
  EXPECT_FALSE(errors.add(endless, endless));
  EXPECT_EQ(errors.count(), 2);
}

TEST(PairHistogram, CountsEverythingWhileItGrows) {
  std::mt19937 random(5);
  PairHistogram histogram;
  int64_t added = 0;
  for (const float spread : {0.0F, 0.01F, 1.0F, 300.0F}) {
    std::uniform_real_distribution<float> uniform(-spread, 2 * spread + 1e-6F);
    std::vector<float> a(101);
    std::vector<float> b(101);
    for (size_t i = 0; i < a.size(); ++i) {
      a[i] = spread == 0 ? 0.0F : uniform(random);
      b[i] = spread == 0 ? 0.0F : uniform(random);
    }
    histogram.add(a, b);
    added += 101;
    for (const double step : {0.0, static_cast<double>(spread) / 80}) {
      const PairHistogram::Bins bins = histogram.export_bins(19, step);
      ASSERT_LE(bins.reference.size(), 19U);
      EXPECT_EQ(std::accumulate(bins.reference.begin(), bins.reference.end(), int64_t{0}), added);
      EXPECT_EQ(std::accumulate(bins.actual.begin(), bins.actual.end(), int64_t{0}), added);
      EXPECT_LT(bins.low, bins.high);
    }
  }
}

TEST(PairHistogram, QuantizedLevelsDrawNoComb) {
  PairHistogram histogram;
  std::vector<float> levels;
  for (int q = 0; q < 200; ++q) levels.push_back(0.037F * static_cast<float>(q));
  histogram.add(levels, levels);
  const PairHistogram::Bins bins = histogram.export_bins(50, 0.037);
  ASSERT_EQ(bins.actual.size(), 50U);
  for (const int64_t count : bins.actual) EXPECT_EQ(count, 4);
}

}  // namespace
}  // namespace hai::quantizer

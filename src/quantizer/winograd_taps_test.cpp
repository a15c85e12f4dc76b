// Shifts of taps follow what was seen and what the weights are; rounded taps stand for the real ones.
#include "quantizer/winograd_taps.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>

#include "types/winograd.h"

namespace hai::quantizer {
namespace {

// Inputs that are uniform in [-limit, limit].
TransformedInputs seen(int tile, int32_t limit) {
  TransformedInputs out(tile);
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::array<int32_t, 36> d{};
    for (int32_t& q : d) q = static_cast<int32_t>(random() % static_cast<uint32_t>(2 * limit + 1)) - limit;
    out.add(d.data());
  }
  return out;
}

TEST(WinogradTaps, InputShiftsFollowTheSizeOfTaps) {
  const TransformedInputs quiet = seen(4, 12);
  const TransformedInputs loud = seen(4, 120);
  for (size_t t = 0; t < 36; ++t) {
    EXPECT_LE(quiet.best_shift(t), loud.best_shift(t)) << t;
    // Neither is more than a bit from filling 8 bits with four deviations.
    const double deviations = 4.0 * std::sqrt(loud.power(t)) / std::exp2(static_cast<double>(loud.best_shift(t)));
    EXPECT_GT(deviations, 50.0) << t;
    EXPECT_LT(deviations, 300.0) << t;
  }
  EXPECT_EQ(TransformedInputs(2).best_shift(3), 0);  // nothing seen
  EXPECT_EQ(TransformedInputs(2).power(3), 0.0);
}

TEST(WinogradTaps, RoundedTapsAreCloseToTheRealOnes) {
  constexpr int64_t kOutputs = 13;
  constexpr int64_t kChannels = 19;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0F, 1.0F);
  std::vector<float> weights(static_cast<size_t>(kOutputs * 9 * kChannels));
  for (float& weight : weights) weight = normal(random);
  for (size_t i = 0; i < 9 * static_cast<size_t>(kChannels); ++i) weights[i] = 0.0F;  // a channel of zeros
  const std::vector<double> least(kOutputs, 1e-6);
  for (const int tile : {2, 4}) {
    const auto taps = static_cast<size_t>((tile + 2) * (tile + 2));
    const WinogradTaps out = choose_taps(weights, kChannels, least, seen(tile, 100));
    ASSERT_EQ(out.values.size(), static_cast<size_t>(kOutputs * kChannels) * taps);
    ASSERT_EQ(out.input_shifts.size(), taps);
    ASSERT_EQ(out.weight_shifts.size(), taps);
    ASSERT_EQ(out.scales.size(), static_cast<size_t>(kOutputs));
    EXPECT_GE(static_cast<double>(out.scales[0]) * out.base, 0.999e-6);  // the least usable scale
    double signal = 0.0;
    double noise = 0.0;
    for (size_t o = 0; o < static_cast<size_t>(kOutputs); ++o) {
      for (size_t c = 0; c < static_cast<size_t>(kChannels); ++c) {
        std::array<double, 9> w{};
        std::array<double, 36> u{};
        for (size_t k = 0; k < 9; ++k) w[k] = static_cast<double>(weights[(o * 9 + k) * kChannels + c]);
        hai_winograd_weights(tile, w.data(), u.data());
        for (size_t t = 0; t < taps; ++t) {
          EXPECT_GE(out.values[(o * taps + t) * kChannels + c], -127);
          const double step = static_cast<double>(out.scales[o]) * std::exp2(static_cast<double>(out.weight_shifts[t]));
          const double difference = step * out.values[(o * taps + t) * kChannels + c] - u[t];
          signal += u[t] * u[t];
          noise += difference * difference;
        }
      }
    }
    EXPECT_GT(10 * std::log10(signal / noise), 35.0) << tile;
  }
}

}  // namespace
}  // namespace hai::quantizer

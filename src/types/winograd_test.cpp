// The transforms against the convolution that they stand for, the rounding of taps against its definition, and bounds.
#include "types/winograd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "types/half.h"

namespace hai {
namespace {

// y = A^T ((G w G^T) * (B^T d B)) A is the correlation of d with w.
template <typename T>
void expect_convolution(int tile, void (*input)(int, T*), void (*output)(int, T*, T*)) {
  const int side = tile + 2;
  std::mt19937 random(17);
  for (int round = 0; round < 50; ++round) {
    std::array<double, 9> w{};
    // Multiples of 24 * 24: the taps are integers.
    for (double& weight : w) weight = 576.0 * (static_cast<int>(random() % 21) - 10);
    std::array<double, 36> u{};
    hai_winograd_weights(tile, w.data(), u.data());
    std::array<T, 36> d{};
    for (int t = 0; t < side * side; ++t)
      d[static_cast<size_t>(t)] = static_cast<T>(static_cast<int>(random() % 511) - 255);
    std::array<T, 36> v = d;
    input(tile, v.data());
    std::array<T, 36> m{};
    for (size_t t = 0; t < static_cast<size_t>(side * side); ++t) {
      ASSERT_EQ(u[t], std::nearbyint(u[t]));
      m[t] = static_cast<T>(u[t]) * v[t];
    }
    std::array<T, 16> y{};
    output(tile, m.data(), y.data());
    for (int i = 0; i < tile; ++i) {
      for (int j = 0; j < tile; ++j) {
        double sum = 0.0;
        for (int k = 0; k < 9; ++k) {
          sum +=
              w[static_cast<size_t>(k)] * static_cast<double>(d[static_cast<size_t>((i + k / 3) * side + j + k % 3)]);
        }
        EXPECT_EQ(static_cast<double>(y[static_cast<size_t>(i * tile + j)]), sum) << tile << ": " << i << ", " << j;
      }
    }
  }
}

TEST(Winograd, TransformsGiveTheConvolution) {
  for (const int tile : {2, 4}) {
    expect_convolution<int64_t>(tile, hai_winograd_input_s64, hai_winograd_output_s64);
    expect_convolution<double>(tile, hai_winograd_input_f64, hai_winograd_output_f64);
  }
}

TEST(Winograd, NarrowTypesGiveTheSameTransforms) {
  std::mt19937 random(3);
  for (const int tile : {2, 4}) {
    for (int round = 0; round < 50; ++round) {
      std::array<int64_t, 36> wide{};
      std::array<int32_t, 36> narrow{};
      std::array<float, 36> real{};
      for (size_t t = 0; t < 36; ++t) {
        wide[t] = static_cast<int>(random() % 511) - 255;
        narrow[t] = static_cast<int32_t>(wide[t]);
        real[t] = static_cast<float>(wide[t]);
      }
      hai_winograd_input_s64(tile, wide.data());
      hai_winograd_input_s32(tile, narrow.data());
      hai_winograd_input_f32(tile, real.data());
      std::array<int64_t, 16> y{};
      std::array<int32_t, 16> y_narrow{};
      std::array<float, 16> y_real{};
      for (size_t t = 0; t < static_cast<size_t>((tile + 2) * (tile + 2)); ++t) {
        ASSERT_EQ(wide[t], narrow[t]);
        ASSERT_EQ(static_cast<float>(wide[t]), real[t]);
      }
      hai_winograd_output_s64(tile, wide.data(), y.data());
      hai_winograd_output_s32(tile, narrow.data(), y_narrow.data());
      hai_winograd_output_f32(tile, real.data(), y_real.data());
      for (size_t i = 0; i < static_cast<size_t>(tile * tile); ++i) {
        EXPECT_EQ(y[i], y_narrow[i]);
        EXPECT_EQ(static_cast<float>(y[i]), y_real[i]);
      }
    }
  }
}

// Every tap of the largest inputs, each with the sign of its coefficient: 16 bits hold it.
TEST(Winograd, TransformedInputsFitSixteenBits) {
  for (const int tile : {2, 4}) {
    const int side = tile + 2;
    const auto taps = static_cast<size_t>(side * side);
    int64_t largest = 0;
    std::vector<int64_t> absolute(taps, 0);
    for (size_t at = 0; at < taps; ++at) {
      std::array<int64_t, 36> d{};
      d[at] = 255;
      hai_winograd_input_s64(tile, d.data());
      for (size_t t = 0; t < taps; ++t) absolute[t] += std::abs(d[t]);
    }
    largest = *std::max_element(absolute.begin(), absolute.end());
    EXPECT_EQ(largest, tile == 2 ? 1020 : 25500);
  }
}

TEST(Winograd, TapsAreRoundedHalfToEven) {
  for (int32_t shift = 0; shift <= HAI_WINOGRAD_MAX_INPUT_SHIFT; ++shift) {
    for (int32_t v = -26000; v <= 26000; ++v) {
      const double exact = std::nearbyint(static_cast<double>(v) / hai_winograd_power(shift));
      ASSERT_EQ(hai_winograd_requantize(v, shift), static_cast<int32_t>(std::clamp(exact, -128.0, 127.0)))
          << v << " >> " << shift;
    }
  }
}

TEST(Winograd, ExponentsCountFromTheLeast) {
  std::vector<int64_t> input(16, 3);
  std::vector<int64_t> weight(16, 1);
  input[5] = 15;
  weight[5] = 15;
  weight[9] = -8;
  std::array<int32_t, 36> e{};
  EXPECT_EQ(hai_winograd_exponents(16, input.data(), weight.data(), e.data()), -5);
  EXPECT_EQ(e[0], 9);
  EXPECT_EQ(e[5], 35);
  EXPECT_EQ(e[9], 0);
  EXPECT_EQ(hai_winograd_weight_scale(0.75F, -5), 0.75F / 32.0F);
  EXPECT_EQ(hai_winograd_weight_scale(0.75F, 20), 0.75F * 1048576.0F);
}

// The bound is reached: by sums of the signs that the output transform gives them.
TEST(Winograd, TheBoundOfSumsIsTheLeast) {
  for (const int tile : {2, 4}) {
    const auto taps = static_cast<size_t>((tile + 2) * (tile + 2));
    std::vector<double> largest(taps);
    std::vector<int32_t> e(taps);
    for (size_t t = 0; t < taps; ++t) {
      largest[t] = static_cast<double>(100 + 7 * t);
      e[t] = static_cast<int32_t>(t % 5);
    }
    std::array<double, 16> reached{};
    for (size_t t = 0; t < taps; ++t) {
      std::array<double, 36> m{};
      std::array<double, 16> y{};
      m[t] = largest[t] * hai_winograd_power(e[t]);
      hai_winograd_output_f64(tile, m.data(), y.data());
      for (size_t i = 0; i < 16; ++i) reached[i] += std::abs(y[i]);
    }
    EXPECT_EQ(hai_winograd_sum_bound(tile, largest.data(), e.data()),
              *std::max_element(reached.begin(), reached.end()));
  }
}

TEST(Winograd, SumsAreRoundedOnceToF32) {
  const hai_output_range range{3, -128, 127};
  EXPECT_EQ(hai_winograd_store(1000, 0.01F, range), hai_requantize_i32(1000, 0.01F, range));
  EXPECT_EQ(hai_winograd_store((int64_t{1} << 40) + 1, 9.094947017729282e-13F, range), 4);
  EXPECT_EQ(hai_winograd_real_sum((int64_t{1} << 24) + 1), 16777216.0F);
  EXPECT_EQ(hai_winograd_real_sum((int64_t{1} << 24) + 3), 16777220.0F);
  EXPECT_EQ(hai_winograd_store(int64_t{1} << 52, 256.0F, range), 127);
  EXPECT_EQ(hai_winograd_store(-(int64_t{1} << 52), 256.0F, range), -128);
}

// Around the middles between neighbours, where ties and their two sides lie, and at bits drawn at random.
TEST(Winograd, RoundsToF16AsEverythingElseDoes) {
  const auto expect_same = [](uint32_t bits) {
    hai_f32_bits given;
    given.bits = bits;
    const float got = hai_winograd_round_f16(given.value);
    const float want = hai_f16_to_f32(half_of(given.value));
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(got)) << std::hex << bits;
      return;
    }
    EXPECT_EQ(got, want) << std::hex << bits;
  };
  for (uint32_t half = 0; half < 0x10000; ++half) {
    hai_f32_bits value;
    value.value = hai_f16_to_f32(static_cast<uint16_t>(half));
    // Half of a step above: that of subnormal numbers is 2^-25.
    hai_f32_bits middle = value;
    if ((half & 0x7c00U) != 0) {
      middle.bits += 0x1000;
    } else {
      middle.value += (half & 0x8000U) != 0 ? -0x1p-25F : 0x1p-25F;
    }
    for (uint32_t next = 0; next < 3; ++next) {
      expect_same(value.bits + next - 1);
      expect_same(middle.bits + next - 1);
    }
  }
  std::mt19937 random(5);
  for (int i = 0; i < 1000000; ++i) expect_same(static_cast<uint32_t>(random()));
}

}  // namespace
}  // namespace hai

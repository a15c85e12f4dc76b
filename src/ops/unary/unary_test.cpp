// The f32 kernels of the unary functions far from the samples: relative accuracy over wide ranges, infinities, NaN,
// signed zeros, on every instruction set of this machine, in place and at every length of a tail.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "devices/cpu/exec/isa.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "types/unary_functions.h"
#include "types/unary_table.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_unary_f32, void, (int32_t, const float*, float*, int64_t, float, float));
HAI_DOT_KERNEL_FAMILY(hai_lookup_u8, void, (const uint8_t*, const uint8_t*, uint8_t*, int64_t));

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What the result may be off by beyond a few units in its last place.
double absolute_slack(int32_t function, double x) {
  switch (function) {
    case HAI_UNARY_gelu:  // 1 + erf cancels for negative x
      return 2.4e-7 * std::fabs(x);
    case HAI_UNARY_sin:
    case HAI_UNARY_cos:
      return 2.4e-7;
    case HAI_UNARY_hard_sigmoid:
    case HAI_UNARY_hard_swish:  // two roundings before the clamp
      return 2.4e-7 * std::max(1.0, std::fabs(x));
    default:
      return 1e-36;  // results below the least normal number keep fewer bits
  }
}

std::vector<float> arguments(int32_t function) {
  std::mt19937 random(13);
  std::vector<float> xs;
  const bool positive = function == HAI_UNARY_log || function == HAI_UNARY_sqrt;
  for (const float reach : {0.01F, 1.0F, 10.0F, 100.0F, 4000.0F}) {
    std::uniform_real_distribution<float> uniform(positive ? 0.0F : -reach, reach);
    for (int i = 0; i < 1013; ++i) xs.push_back(uniform(random));
  }
  return xs;
}

TEST(UnaryKernels, FewUnitsInTheLastPlaceOverWideRanges) {
  for (const Isa isa : available_isas()) {
    for (int32_t function = 0; function < HAI_UNARY_COUNT; ++function) {
      const UnaryFunction& row = unary_functions()[static_cast<size_t>(function)];
      const std::vector<float> xs = arguments(function);
      std::vector<float> ys(xs.size());
      hai_unary_f32_for(isa)(function, xs.data(), ys.data(), static_cast<int64_t>(xs.size()),
                             static_cast<float>(row.alpha), static_cast<float>(row.beta));
      for (size_t i = 0; i < xs.size(); ++i) {
        const auto x = static_cast<double>(xs[i]);
        const double want = unary_f64(function, x, static_cast<double>(static_cast<float>(row.alpha)),
                                      static_cast<double>(static_cast<float>(row.beta)));
        const auto rounded = static_cast<float>(want);
        if (std::isinf(rounded)) {
          ASSERT_EQ(ys[i], rounded) << row.name << "(" << x << ") on " << isa_name(isa);
          continue;
        }
        ASSERT_NEAR(static_cast<double>(ys[i]), want, 4 * 0x1p-23 * std::fabs(want) + absolute_slack(function, x))
            << row.name << "(" << x << ") on " << isa_name(isa);
      }
    }
  }
}

TEST(UnaryKernels, EdgesMatchTheDefinition) {
  const std::vector<float> xs = {0.0F, -0.0F, kInfinity, -kInfinity, std::nanf(""), 1.0F, -1.0F, 3e38F, -3e38F, 0.5F};
  for (const Isa isa : available_isas()) {
    for (int32_t function = 0; function < HAI_UNARY_COUNT; ++function) {
      if (function == HAI_UNARY_sin || function == HAI_UNARY_cos) continue;  // 3e38: beyond the stated range
      const UnaryFunction& row = unary_functions()[static_cast<size_t>(function)];
      std::vector<float> ys = xs;  // in place
      hai_unary_f32_for(isa)(function, ys.data(), ys.data(), static_cast<int64_t>(xs.size()),
                             static_cast<float>(row.alpha), static_cast<float>(row.beta));
      for (size_t i = 0; i < xs.size(); ++i) {
        const auto want = static_cast<float>(unary_f64(function, static_cast<double>(xs[i]), row.alpha, row.beta));
        if (std::isnan(want)) {
          EXPECT_TRUE(std::isnan(ys[i])) << row.name << "(" << xs[i] << ") is " << ys[i] << " on " << isa_name(isa);
        } else if (std::isinf(want)) {
          EXPECT_EQ(ys[i], want) << row.name << "(" << xs[i] << ") on " << isa_name(isa);
        } else {
          EXPECT_NEAR(ys[i], want, 4 * 0x1p-23 * std::fabs(want))
              << row.name << "(" << xs[i] << ") on " << isa_name(isa);
        }
      }
    }
  }
}

TEST(UnaryKernels, LookUpAtEveryLength) {
  uint8_t table[256];
  for (int i = 0; i < 256; ++i) table[i] = static_cast<uint8_t>(i * 167 + 13);
  std::vector<uint8_t> xs(331);
  for (size_t i = 0; i < xs.size(); ++i) xs[i] = static_cast<uint8_t>(i * 31);
  for (const Isa isa : available_isas()) {
    for (size_t count = 0; count <= xs.size(); ++count) {
      std::vector<uint8_t> ys(count + 1, 0xee);
      hai_lookup_u8_for(isa)(table, xs.data(), ys.data(), static_cast<int64_t>(count));
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(ys[i], table[xs[i]]) << isa_name(isa) << " element " << i;
      ASSERT_EQ(ys[count], 0xee) << isa_name(isa) << " wrote past " << count;
    }
  }
}

}  // namespace
}  // namespace hai::cpu

// f16 and bf16: every value there and back, and every midpoint between neighbours to the even one.
#include "types/float_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace {

struct Format {
  const char* name;
  float (*widen)(uint16_t);
  uint16_t (*narrow)(double);
  uint16_t infinity;
};

const Format kFormats[] = {{"f16", hai_f16_to_f32, hai_f64_to_f16, 0x7c00},
                           {"bf16", hai_bf16_to_f32, hai_f64_to_bf16, 0x7f80}};

TEST(FloatFormat, EveryValueThereAndBack) {
  for (const Format& format : kFormats) {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      const auto half = static_cast<uint16_t>(bits);
      const float wide = format.widen(half);
      if ((half & 0x7fff) > format.infinity) {
        ASSERT_TRUE(std::isnan(wide)) << format.name << " " << bits;
        ASSERT_TRUE(std::isnan(format.widen(format.narrow(static_cast<double>(wide)))));
      } else {
        ASSERT_EQ(format.narrow(static_cast<double>(wide)), half) << format.name << " " << wide;
      }
    }
  }
}

TEST(FloatFormat, RoundsOnceHalfToEven) {
  for (const Format& format : kFormats) {
    for (uint16_t low = 0; low + 1 < format.infinity; ++low) {
      const auto high = static_cast<uint16_t>(low + 1);
      const double a = static_cast<double>(format.widen(low));
      const double b = static_cast<double>(format.widen(high));
      const double middle = (a + b) / 2;
      const uint16_t even = (low & 1) == 0 ? low : high;
      ASSERT_EQ(format.narrow(middle), even) << format.name << " " << middle;
      ASSERT_EQ(format.narrow(-middle), even | 0x8000) << format.name << " " << -middle;
      ASSERT_EQ(format.narrow(std::nextafter(middle, 0.0)), low) << format.name << " below " << middle;
      ASSERT_EQ(format.narrow(std::nextafter(middle, 1e300)), high) << format.name << " above " << middle;
    }
  }
}

TEST(FloatFormat, OverflowAndUnderflow) {
  EXPECT_EQ(hai_f64_to_f16(65519.999), 0x7bff);
  EXPECT_EQ(hai_f64_to_f16(65520.0), 0x7c00);
  EXPECT_EQ(hai_f64_to_f16(-1e300), 0xfc00);
  EXPECT_EQ(hai_f64_to_bf16(1e39), 0x7f80);
  EXPECT_EQ(hai_f64_to_f16(1e-300), 0x0000);
  EXPECT_EQ(hai_f64_to_f16(-5e-324), 0x8000);
  EXPECT_EQ(hai_f64_to_f16(std::numeric_limits<double>::infinity()), 0x7c00);
  EXPECT_EQ(hai_f64_to_f16(std::numeric_limits<double>::quiet_NaN()), 0x7e00);
  // Through f32 this would round twice and come out one unit higher.
  EXPECT_EQ(hai_f64_to_f16(1.0 + 0x1p-11 + 0x1p-40), 0x3c01);
  EXPECT_EQ(hai_f64_to_f16(1.0 + 0x1p-11 - 0x1p-40), 0x3c00);
}

}  // namespace

#include "types/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "types/unary_functions.h"

namespace hai {
namespace {

float from_bits(uint32_t bits) {
  hai_f32_bits f;
  f.bits = bits;
  return f.value;
}

TEST(Half, NarrowsAsFromF64) {
  std::mt19937 random(7);
  for (uint32_t h = 0; h < 65536; ++h) {
    const float x = hai_f16_to_f32(static_cast<uint16_t>(h));
    for (const float at : {x, std::nextafter(x, INFINITY), std::nextafter(x, -INFINITY), x * 1.00048828125F}) {
      ASSERT_EQ(half_of(at), hai_f64_to_f16(static_cast<double>(at))) << h;
    }
  }
  for (int i = 0; i < 2000000; ++i) {
    const float x = from_bits(static_cast<uint32_t>(random()));
    ASSERT_EQ(half_of(x), hai_f64_to_f16(static_cast<double>(x))) << x;
  }
  EXPECT_EQ(half_of(65519.996F), 0x7bff);
  EXPECT_EQ(half_of(-65520.0F), 0xfc00);
  EXPECT_EQ(half_of(from_bits(0xffc12345)), 0x7e00);
}

// What the page says: products are exact, so that fused and unfused additions agree.
TEST(Half, ProductsAreExact) {
  std::mt19937 random(8);
  for (int i = 0; i < 1000000; ++i) {
    const float a = hai_f16_to_f32(static_cast<uint16_t>(random()));
    const float b = hai_f16_to_f32(static_cast<uint16_t>(random()));
    const float sum = from_bits(static_cast<uint32_t>(random()));
    if (!std::isfinite(a) || !std::isfinite(b) || !std::isfinite(sum)) continue;
    ASSERT_EQ(static_cast<double>(a * b), static_cast<double>(a) * static_cast<double>(b));
    ASSERT_EQ(std::fma(a, b, sum), sum + a * b);
  }
}

// The epilogue in one step gives what the operators give one after the other.
TEST(Half, EpilogueIsItsChain) {
  Activation silu;
  silu.function = *find_unary_function("silu");
  Activation relu;
  relu.lo = 0.0;
  Activation clip;
  clip.lo = -0.7;
  clip.hi = 1.1;
  std::mt19937 random(9);
  std::normal_distribution<float> draw(0.0F, 2.0F);
  for (const Activation& activation : {silu, relu, clip, Activation()}) {
    for (const Activation& last : {relu, clip, Activation()}) {
      const HalfEpilogue epilogue(activation, last);
      for (int i = 0; i < 20000; ++i) {
        const float sum = draw(random);
        const uint16_t residual = half_of(draw(random));
        const auto step = [](double value) { return static_cast<double>(hai_f16_to_f32(hai_f64_to_f16(value))); };
        double value = step(apply_activation(activation, step(static_cast<double>(sum))));
        const double alone = step(apply_activation(last, value));
        value = step(value + static_cast<double>(hai_f16_to_f32(residual)));
        uint16_t got = 0;
        epilogue.run(&sum, &residual, &got, 1);
        ASSERT_EQ(got, hai_f64_to_f16(apply_activation(last, value))) << sum;
        epilogue.run(&sum, nullptr, &got, 1);
        ASSERT_EQ(got, hai_f64_to_f16(alone)) << sum;
      }
    }
  }
}

TEST(Half, FunctionsKeepNaN) {
  Activation sigmoid;
  sigmoid.function = *find_unary_function("sigmoid");
  const auto table = half_table(sigmoid);
  EXPECT_EQ(table, half_table(sigmoid));
  EXPECT_EQ((*table)[0x7e01], 0x7e00);
  EXPECT_EQ((*table)[0], hai_f64_to_f16(0.5));
  EXPECT_EQ((*table)[0x7c00], hai_f64_to_f16(1.0));
}

}  // namespace
}  // namespace hai

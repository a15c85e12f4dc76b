// Curves give back every entry, or say that they cannot; any bytes expand to something.
#include "devices/sd3403/isa/curve.h"

#include <gtest/gtest.h>

#include <random>

#include "types/function_table.h"
#include "types/unary_functions.h"

namespace hai::sd3403 {
namespace {

TEST(Curve, GivesBackSmoothFunctions) {
  for (const char* name : {"silu", "sigmoid", "tanh", "gelu", "mish", "elu"}) {
    const UnaryFunction& row = unary_functions()[static_cast<size_t>(*find_unary_function(name))];
    Activation activation;
    activation.function = *find_unary_function(name);
    activation.alpha = row.alpha;
    activation.beta = row.beta;
    for (const float scale : {0.0002F, 0.001F}) {
      const hai_output_range range{0, -32768, 32767};
      const FunctionTable table = make_function_table(activation, scale, range, scale, range);
      const auto coded = encode_curve(table.entries);
      ASSERT_TRUE(coded.has_value()) << name << " " << scale;
      const auto count = static_cast<int64_t>(table.entries.size());
      EXPECT_EQ(static_cast<int64_t>(coded->size()), curve_bytes(count));
      EXPECT_EQ(expand_curve(*coded, count), table.entries) << name << " " << scale;
    }
  }
}

TEST(Curve, ShortAndOddLengths) {
  for (const int64_t count : {1, 2, 3, 63, 64, 65, 127, 129}) {
    std::vector<int16_t> entries;
    for (int64_t i = 0; i < count; ++i) entries.push_back(static_cast<int16_t>(3 * i - 100));
    const auto coded = encode_curve(entries);
    ASSERT_TRUE(coded.has_value()) << count;
    EXPECT_EQ(expand_curve(*coded, count), entries) << count;
  }
}

// Hard-swish has a kink, which leaves its line by more than a step where the scale is fine.
TEST(Curve, RoughFunctionsAreRefused) {
  std::vector<int16_t> entries(128);
  std::mt19937 random(5);
  for (int16_t& entry : entries) entry = static_cast<int16_t>(random());
  EXPECT_FALSE(encode_curve(entries).has_value());
  const std::vector<int16_t> step = {0, 0, 0, 0, 9, 9, 9, 9};
  EXPECT_FALSE(encode_curve(step).has_value());
}

TEST(Curve, AnyBytesExpand) {
  std::mt19937 random(9);
  for (const int64_t count : {1, 64, 100, 65536}) {
    std::vector<std::byte> bytes(static_cast<size_t>(curve_bytes(count)));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    EXPECT_EQ(static_cast<int64_t>(expand_curve(bytes, count).size()), count);
  }
}

}  // namespace
}  // namespace hai::sd3403

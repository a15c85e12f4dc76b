// A table without its constant ends says of every 16-bit integer what the function says.
#include "types/function_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "types/unary_functions.h"

namespace hai {
namespace {

TEST(FunctionTable, SaysWhatTheFunctionSays) {
  for (const char* name : {"leaky_relu", "elu", "sigmoid", "silu", "hard_sigmoid", "hard_swish", "tanh", "gelu",
                           "softplus", "mish", "sin", "abs"}) {
    const std::optional<int32_t> function = find_unary_function(name);
    ASSERT_TRUE(function.has_value());
    const UnaryFunction& known = unary_functions()[static_cast<size_t>(*function)];
    Activation activation;
    activation.function = *function;
    activation.alpha = known.alpha;
    activation.beta = known.beta;
    for (const float scale : {1e-5F, 0.0021F, 0.3F, 900.0F}) {
      for (const int32_t zero_point : {-32768, 0, 5000}) {
        const hai_output_range from{zero_point, -32768, 32767};
        const float to_scale = std::abs(static_cast<float>(zero_point)) > 0 ? 0.004F : scale * 16;
        const hai_output_range to{-3, -128, 127};
        const FunctionTable table = make_function_table(activation, scale, from, to_scale, to);
        for (int32_t q = -32768; q <= 32767; ++q) {
          const int32_t want = unary_integer(*function, known.alpha, known.beta, q, scale, zero_point, to_scale, to);
          const int32_t at = std::clamp(q, table.first, table.last());
          ASSERT_EQ(table.entries[static_cast<size_t>(at - table.first)], want)
              << name << " at " << q << " with scale " << scale << " and zero point " << zero_point;
        }
      }
    }
  }
}

TEST(FunctionTable, LeavesOutConstantEnds) {
  Activation silu;
  silu.function = *find_unary_function("silu");
  const FunctionTable table = make_function_table(silu, 0.05F / 16, {0, -32768, 32767}, 0.05F, {-100, -128, 127});
  EXPECT_LT(table.entries.size(), 6000U);
  Activation sine;
  sine.function = *find_unary_function("sin");
  EXPECT_EQ(make_function_table(sine, 0.01F, {0, -32768, 32767}, 0.01F, {0, -128, 127}).entries.size(), 65536U);
}

}  // namespace
}  // namespace hai

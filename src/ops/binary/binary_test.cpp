// The kernels of two operands where samples do not go: every pair of stored integers, NaN, infinities and the special
// cases of pow, on every instruction set of this machine.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "devices/cpu/exec/isa.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "types/arithmetic.h"
#include "types/binary_table.h"
#include "types/exact_math.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_binary_f32, void,
                  (int32_t, const float*, const float*, float*, int64_t, int64_t, int64_t, int64_t, int, int));
HAI_KERNEL_FAMILY(hai_binary_q8, void,
                  (int32_t, const ::hai_binary_q8*, const uint8_t*, const uint8_t*, uint8_t*, int64_t, int64_t, int64_t,
                   int64_t, int, int));

int32_t expected(int32_t function, const ::hai_binary_q8& p, int32_t a, int32_t b) {
  const hai_output_range out{p.zero_y, p.lo, p.hi};
  const int32_t left = hai_rescale(a, p.zero_a, p.m_a, out);
  const int32_t right = hai_rescale(b, p.zero_b, p.m_b, out);
  switch (function) {
    case HAI_BINARY_add:
      return hai_add(a, b, p.zero_a, p.zero_b, p.m_a, p.m_b, out);
    case HAI_BINARY_sub:
      return hai_sub(a, b, p.zero_a, p.zero_b, p.m_a, p.m_b, out);
    case HAI_BINARY_mul:
      return hai_mul(a, b, p.zero_a, p.zero_b, p.m_a, out);
    case HAI_BINARY_min:
      return std::min(left, right);
    case HAI_BINARY_max:
      return std::max(left, right);
    default:
      return a < p.zero_a ? hai_mul(a, b, p.zero_a, p.zero_b, p.m_b, out) : left;
  }
}

// u8 operands, so that no bit is flipped: the flips are a matter of the sign alone and the conformance suite mixes
// them.
TEST(BinaryKernels, EveryPairOfStoredIntegers) {
  std::vector<uint8_t> a(65536);
  std::vector<uint8_t> b(65536);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = static_cast<uint8_t>(i >> 8);
    b[i] = static_cast<uint8_t>(i);
  }
  const float multipliers[][2] = {{0.5F, 0.5F}, {0.75F, 0.508F}, {1.0F, 1.0F}, {0.0114F, 0.0031F}, {3.7F, 0.25F}};
  for (const Isa isa : available_isas()) {
    for (const int32_t function :
         {HAI_BINARY_add, HAI_BINARY_sub, HAI_BINARY_mul, HAI_BINARY_min, HAI_BINARY_max, HAI_BINARY_prelu}) {
      for (const auto& m : multipliers) {
        const ::hai_binary_q8 p{125, 131, m[0], m[1], 127, 3, 250, 0, 0, 0};
        std::vector<uint8_t> y(65536);
        hai_binary_q8_for(isa)(function, &p, a.data(), b.data(), y.data(), 1, 65536, 0, 0, 1, 1);
        for (size_t i = 0; i < y.size(); ++i) {
          ASSERT_EQ(y[i], expected(function, p, a[i], b[i]))
              << "function " << function << " of " << int{a[i]} << " and " << int{b[i]} << " on " << isa_name(isa);
        }
      }
    }
  }
}

TEST(BinaryKernels, NanInfinityAndPow) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0.0F, -0.0F,     1.0F,       -1.0F, 2.0F,   -2.0F, 0.5F,  -0.5F,
                                     3.0F, kInfinity, -kInfinity, 1e30F, 1e-30F, 2.5F,  -7.0F, std::nanf("")};
  std::vector<float> a;
  std::vector<float> b;
  for (const float x : values) {
    for (const float y : values) {
      a.push_back(x);
      b.push_back(y);
    }
  }
  for (const Isa isa : available_isas()) {
    for (const int32_t function : {HAI_BINARY_min, HAI_BINARY_max, HAI_BINARY_div, HAI_BINARY_pow}) {
      std::vector<float> y(a.size());
      const auto count = static_cast<int64_t>(a.size());
      hai_binary_f32_for(isa)(function, a.data(), b.data(), y.data(), 1, count, 0, 0, 1, 1);
      for (size_t i = 0; i < a.size(); ++i) {
        const bool nan = std::isnan(a[i]) || std::isnan(b[i]);
        float want = a[i] / b[i];
        if (function == HAI_BINARY_min) want = nan ? std::nanf("") : std::fmin(a[i], b[i]);
        if (function == HAI_BINARY_max) want = nan ? std::nanf("") : std::fmax(a[i], b[i]);
        if (function == HAI_BINARY_pow) {
          want = static_cast<float>(hai_pow(static_cast<double>(a[i]), static_cast<double>(b[i])));
        }
        const bool same =
            std::isnan(want) ? std::isnan(y[i]) : y[i] == want || std::fabs(y[i] - want) <= 1e-6F * std::fabs(want);
        ASSERT_TRUE(same) << "function " << function << " of " << a[i] << " and " << b[i] << " is " << y[i]
                          << " instead of " << want << " on " << isa_name(isa);
      }
    }
  }
}

}  // namespace
}  // namespace hai::cpu

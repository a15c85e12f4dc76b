// exact_math against libm in long double: the stated number of units in the last place, special values, monotony.
//
// A few bits are pinned as hexadecimal constants: they must be the same on every machine, whatever its libm.
#include "types/exact_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// |got - want| in units of the last place of want.
double ulps(double got, long double want) {
  const auto nearest = static_cast<double>(want);
  if (std::isnan(got) || std::isnan(nearest)) return std::isnan(got) == std::isnan(nearest) ? 0.0 : 1e9;
  if (std::isinf(nearest)) return got == nearest ? 0.0 : 1e9;
  int exponent = 0;
  std::frexp(nearest, &exponent);
  const long double ulp = std::ldexp(1.0L, std::max(exponent, -1021) - 53);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / ulp);
}

struct Function {
  const char* name;
  double (*own)(double);
  long double (*libm)(long double);
  double low;
  double high;
  double limit;
};

const Function kFunctions[] = {
    {"exp", hai_exp, [](long double x) { return std::exp(x); }, -745.0, 709.0, 1.0},
    {"exp near 0", hai_exp, [](long double x) { return std::exp(x); }, -1.0, 1.0, 1.0},
    {"expm1", hai_expm1, [](long double x) { return std::expm1(x); }, -45.0, 100.0, 1.0},
    {"expm1 near 0", hai_expm1, [](long double x) { return std::expm1(x); }, -0.5, 0.5, 1.0},
    {"log", hai_log, [](long double x) { return std::log(x); }, 1e-300, 1e6, 1.0},
    {"log near 1", hai_log, [](long double x) { return std::log(x); }, 0.5, 2.0, 1.0},
    {"log1p", hai_log1p, [](long double x) { return std::log1p(x); }, -0.999, 10.0, 1.0},
    {"log1p near 0", hai_log1p, [](long double x) { return std::log1p(x); }, -1e-5, 1e-5, 1.0},
    {"tanh", hai_tanh, [](long double x) { return std::tanh(x); }, -25.0, 25.0, 1.0},
    {"tanh near 0", hai_tanh, [](long double x) { return std::tanh(x); }, -0.3, 0.3, 1.0},
    {"sigmoid", hai_sigmoid, [](long double x) { return 1.0L / (1.0L + std::exp(-x)); }, -700.0, 50.0, 1.0},
    {"sigmoid near 0", hai_sigmoid, [](long double x) { return 1.0L / (1.0L + std::exp(-x)); }, -10.0, 10.0, 1.0},
    {"softplus", hai_softplus, [](long double x) { return x > 50 ? x : std::log1p(std::exp(x)); }, -60.0, 60.0, 2.0},
    {"mish", hai_mish, [](long double x) { return x * std::tanh(std::log1p(std::exp(x))); }, -60.0, 60.0, 2.0},
    {"erf", hai_erf, [](long double x) { return std::erf(x); }, -6.5, 6.5, 2.0},
    {"erf near 0", hai_erf, [](long double x) { return std::erf(x); }, -0.1, 0.1, 2.0},
    {"gelu > 0", hai_gelu, [](long double x) { return x / 2 * (1 + std::erf(x * M_SQRT1_2l)); }, 0.0, 9.0, 2.0},
    {"sin", hai_sin, [](long double x) { return std::sin(x); }, -20.0, 20.0, 1.0},
    {"cos", hai_cos, [](long double x) { return std::cos(x); }, -20.0, 20.0, 1.0},
    {"sin far", hai_sin, [](long double x) { return std::sin(x); }, -1e12, 1e12, 1.0},
    {"cos far", hai_cos, [](long double x) { return std::cos(x); }, -1e12, 1e12, 1.0},
    {"sqrt", hai_sqrt, [](long double x) { return std::sqrt(x); }, 0.0, 1e30, 0.6},
    {"floor", hai_floor, [](long double x) { return std::floor(x); }, -1e3, 1e3, 0.0},
    {"ceil", hai_ceil, [](long double x) { return std::ceil(x); }, -1e3, 1e3, 0.0},
    {"round_even", hai_round_even, [](long double x) { return std::nearbyint(x); }, -1e3, 1e3, 0.0},
};

TEST(ExactMath, WithinTheStatedUlps) {
  std::mt19937_64 random(127);
  for (const Function& function : kFunctions) {
    std::uniform_real_distribution<double> uniform(function.low, function.high);
    double worst = 0.0;
    double worst_x = 0.0;
    for (int i = 0; i < 20013; ++i) {
      const double x = uniform(random);
      const double error = ulps(function.own(x), function.libm(static_cast<long double>(x)));
      if (error > worst) {
        worst = error;
        worst_x = x;
      }
    }
    EXPECT_LE(worst, function.limit) << function.name << " at " << worst_x;
    RecordProperty(std::string("ulps ") + function.name, std::to_string(worst));
  }
}

TEST(ExactMath, SmallArgumentsKeepTheirRelativeError) {
  for (double x = 1.0; x > 1e-300; x *= 0.37) {
    for (const double sign : {1.0, -1.0}) {
      const double value = sign * x;
      const auto wide = static_cast<long double>(value);
      EXPECT_LE(ulps(hai_expm1(value), std::expm1(wide)), 1.0) << value;
      EXPECT_LE(ulps(hai_tanh(value), std::tanh(wide)), 1.0) << value;
      EXPECT_LE(ulps(hai_sin(value), std::sin(wide)), 1.0) << value;
      EXPECT_LE(ulps(hai_erf(value), std::erf(wide)), 2.0) << value;
      if (value > -1.0) {
        EXPECT_LE(ulps(hai_log1p(value), std::log1p(wide)), 1.0) << value;
      }
    }
  }
}

TEST(ExactMath, HugeAnglesAreReducedExactly) {
  for (double x = 3.0; x < 1e307; x *= 7.31) {
    EXPECT_LE(ulps(hai_sin(x), static_cast<long double>(std::sin(x))), 1.5) << x;
    EXPECT_LE(ulps(hai_cos(-x), static_cast<long double>(std::cos(x))), 1.5) << x;
  }
}

TEST(ExactMath, SpecialValues) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Function& function : kFunctions) EXPECT_TRUE(std::isnan(function.own(nan))) << function.name;
  EXPECT_EQ(hai_exp(kInf), kInf);
  EXPECT_EQ(hai_exp(-kInf), 0.0);
  EXPECT_EQ(hai_exp(0.0), 1.0);
  EXPECT_EQ(hai_exp(710.0), kInf);
  EXPECT_EQ(hai_log(0.0), -kInf);
  EXPECT_EQ(hai_log(1.0), 0.0);
  EXPECT_TRUE(std::isnan(hai_log(-1.0)));
  EXPECT_EQ(hai_log(kInf), kInf);
  EXPECT_LE(ulps(hai_log(5e-324), std::log(static_cast<long double>(5e-324))), 1.0);
  EXPECT_EQ(hai_log1p(-1.0), -kInf);
  EXPECT_EQ(hai_expm1(-kInf), -1.0);
  EXPECT_EQ(hai_tanh(-kInf), -1.0);
  EXPECT_EQ(hai_sigmoid(-kInf), 0.0);
  EXPECT_EQ(hai_sigmoid(kInf), 1.0);
  EXPECT_EQ(hai_softplus(kInf), kInf);
  EXPECT_EQ(hai_mish(-kInf), 0.0);
  EXPECT_EQ(hai_gelu(-kInf), 0.0);
  EXPECT_EQ(hai_gelu(kInf), kInf);
  EXPECT_TRUE(std::isnan(hai_sin(kInf)));
  EXPECT_TRUE(std::signbit(hai_sin(-0.0)));
  EXPECT_TRUE(std::signbit(hai_round_even(-0.3)));
  EXPECT_EQ(hai_sqrt(4.0), 2.0);
  EXPECT_EQ(hai_sqrt(1e-310), std::sqrt(1e-310));
  EXPECT_EQ(hai_floor(-0.5), -1.0);
  EXPECT_EQ(hai_ceil(1e300), 1e300);
  EXPECT_EQ(hai_round_even(2.5), 2.0);
  EXPECT_EQ(hai_round_even(3.5), 4.0);
}

TEST(ExactMath, PowMatchesLibm) {
  std::mt19937_64 random(19);
  std::uniform_real_distribution<double> base(0.01, 20.0);
  std::uniform_real_distribution<double> exponent(-12.0, 12.0);
  for (int i = 0; i < 20013; ++i) {
    const double x = base(random);
    const double y = i % 2 == 0 ? exponent(random) : std::round(exponent(random) * 5);
    const double signed_x = i % 4 == 1 ? -x : x;
    const long double want = std::pow(static_cast<long double>(signed_x), static_cast<long double>(y));
    EXPECT_LE(ulps(hai_pow(signed_x, y), want), i % 2 != 0 ? 2.0 : 2.0 + std::fabs(y * std::log(x)) / 32)
        << signed_x << " ^ " << y;
  }
  const double values[] = {0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, kInf, -kInf, 3.0, -3.0, 1e300, 5e-324, 2.5};
  for (const double x : values) {
    for (const double y : values) {
      const double got = hai_pow(x, y);
      const double want = std::pow(x, y);
      EXPECT_TRUE(got == want || (std::isnan(got) && std::isnan(want)))
          << x << " ^ " << y << " = " << got << ", libm " << want;
      EXPECT_TRUE(std::isnan(got) || std::signbit(got) == std::signbit(want)) << x << " ^ " << y;
    }
  }
}

TEST(ExactMath, PinnedBits) {
  EXPECT_EQ(hai_exp(1.0), 0x1.5bf0a8b145769p+1);
  EXPECT_EQ(hai_log(10.0), 0x1.26bb1bbb55516p+1);
  EXPECT_EQ(hai_tanh(0.5), 0x1.d9353d7568af3p-2);
  EXPECT_EQ(hai_erf(1.0), 0x1.af767a741088bp-1);
  EXPECT_EQ(hai_sin(1e22), -0x1.b453ab76bf397p-1);
}

TEST(ExactMath, SoftmaxTableStartsAtOneAndFalls) {
  int32_t before = 1 << 24;
  for (int32_t distance = 0; distance < 256; ++distance) {
    const int32_t entry = hai_softmax_table_entry(distance, 0.0471F);
    EXPECT_LT(entry, before);
    before = entry;
  }
  EXPECT_EQ(hai_softmax_table_entry(0, 0.0471F), 8388608);
}

}  // namespace

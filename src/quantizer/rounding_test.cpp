// Rounding by reconstruction on random problems: against rounding to nearest, against exhaustive search where that is
// possible, independent of threads; the algebra under it against plain loops.
#include "quantizer/rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "quantizer/adaround.h"

namespace hai::quantizer {
namespace {

struct Size {
  int64_t rows, outputs, depth;
};

Matrix random_matrix(int64_t rows, int64_t cols, std::mt19937& random, float scale = 1.0F) {
  std::normal_distribution<float> normal(0.0F, scale);
  Matrix out(rows, cols);
  for (int64_t i = 0; i < rows; ++i) {
    for (float& value : out.values(i)) value = normal(random);
  }
  return out;
}

// Inputs that depend on each other, as channels of a network do: a few hidden factors, an offset, some noise.
RoundingProblem make_problem(Size size, uint32_t seed, int64_t limit, bool clamped) {
  std::mt19937 random(seed);
  RoundingProblem problem;
  problem.pictures = std::min<int64_t>(7, size.rows);
  const int64_t factors = std::max<int64_t>(2, size.depth / 3);
  const Matrix mixing = random_matrix(factors, size.depth, random);
  const Matrix hidden = random_matrix(size.rows, factors, random);
  problem.float_rows = random_matrix(size.rows, size.depth, random, 0.2F);
  for (int64_t i = 0; i < size.rows; ++i) {
    for (int64_t k = 0; k < size.depth; ++k) {
      for (int64_t f = 0; f < factors; ++f) problem.float_rows.at(i, k) += hidden.at(i, f) * mixing.at(f, k) / 2.0F;
      problem.float_rows.at(i, k) = std::max(0.0F, problem.float_rows.at(i, k) + 0.3F);
    }
  }
  problem.quantized_rows = problem.float_rows;
  for (int64_t i = 0; i < size.rows; ++i) {
    for (float& value : problem.quantized_rows.values(i)) value = std::nearbyint(value * 20.0F) / 20.0F;
  }
  problem.weights = random_matrix(size.outputs, size.depth, random, 0.3F);
  for (int64_t r = 0; r < size.outputs; ++r) {
    problem.bias.push_back(0.1F * static_cast<float>(r % 5));
    float largest = 0.0F;
    for (const float w : problem.weights.values(r)) largest = std::max(largest, std::abs(w));
    problem.nearest_scale.push_back(largest / static_cast<float>(limit));
    problem.least_scale.push_back(1e-6F);
  }
  problem.limit = limit;
  if (clamped) {
    problem.low = 0.0F;
    problem.high = 1.5F;
  }
  return problem;
}

class Rounding : public testing::Test {
 protected:
  ThreadPool threads_{2};
  Algebra algebra_ = *Algebra::make(threads_);
};

TEST_F(Rounding, ProductsMatchPlainLoops) {
  std::mt19937 random(3);
  for (const Size size : {Size{1, 1, 1}, Size{13, 19, 7}, Size{127, 33, 65}, Size{40, 131, 129}}) {
    const Matrix a = random_matrix(size.rows, size.depth, random);
    const Matrix b = random_matrix(size.depth + 3, size.outputs, random);
    Matrix y(size.rows, size.outputs);
    algebra_.multiply(a, b, y, {0, size.rows, 3});
    for (int64_t i = 0; i < size.rows; ++i) {
      for (int64_t j = 0; j < size.outputs; ++j) {
        double want = 0;
        for (int64_t k = 0; k < size.depth; ++k)
          want += static_cast<double>(a.at(i, k)) * static_cast<double>(b.at(k + 3, j));
        // At most 129 terms of a few units, each rounded to 24 bits.
        ASSERT_NEAR(static_cast<double>(y.at(i, j)), want, 1e-4) << size.rows << "x" << size.outputs << " " << i << j;
      }
    }
  }
}

TEST_F(Rounding, FactorAndSolution) {
  std::mt19937 random(5);
  for (const int64_t size : {1, 2, 13, 127, 300}) {
    const Matrix x = random_matrix(2 * size + 3, size, random);
    Matrix gram(size, size);
    algebra_.multiply(transposed(x), x, gram);
    Matrix upper = gram;
    ASSERT_TRUE(factor_upper(algebra_, upper));
    Matrix product(size, size);
    algebra_.multiply(upper, transposed(upper), product);
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < size; ++j) {
        ASSERT_TRUE(j >= i || upper.at(i, j) == 0.0F);
        // Entries are sums of 2 * size products.
        ASSERT_NEAR(product.at(i, j), gram.at(i, j), 2e-5F * static_cast<float>(2 * size + 3) + 1e-4F) << i << " " << j;
      }
    }
    const Matrix want = random_matrix(3, size, random);
    Matrix rows(3, size);
    algebra_.multiply(want, gram, rows);
    solve_rows(algebra_, upper, rows);
    for (int64_t j = 0; j < size; ++j) ASSERT_NEAR(rows.at(2, j), want.at(2, j), 2e-2F) << size << " " << j;
  }
  Matrix indefinite(2, 2);
  indefinite.at(0, 1) = indefinite.at(1, 0) = 1.0F;
  EXPECT_FALSE(factor_upper(algebra_, indefinite));
}

TEST_F(Rounding, ErrsLessThanNearestEverywhere) {
  AdaRoundOptions options;
  options.iterations = 200;
  for (const int64_t limit : {7, 127}) {
    for (const bool clamped : {false, true}) {
      for (const Size size : {Size{63, 5, 9}, Size{500, 1, 25}, Size{700, 19, 33}, Size{13, 11, 40}, Size{5, 3, 1}}) {
        RoundingProblem problem = make_problem(size, 11, limit, clamped);
        const auto rounded = round_by_reconstruction(problem, options, algebra_);
        ASSERT_TRUE(rounded.has_value()) << rounded.error().to_string();
        EXPECT_LE(rounded->error_solved, rounded->error_nearest);
        EXPECT_LE(rounded->error, rounded->error_solved);
        if (size.depth >= 9 && size.rows > 20) {
          // With 8 bits, what is left is mostly the rounding of the inputs.
          EXPECT_LT(rounded->error, 0.9 * rounded->error_nearest) << size.depth << " limit " << limit << clamped;
        }
        for (int64_t r = 0; r < size.outputs; ++r) {
          EXPECT_GE(rounded->scales[static_cast<size_t>(r)], 1e-6F);
          for (const float level : rounded->levels.values(r)) {
            EXPECT_EQ(level, std::nearbyint(level));
            EXPECT_LE(std::abs(level), static_cast<float>(limit));
          }
        }
      }
    }
  }
}

// The optimiser by itself, from rounding to nearest, without the closed-form steps before it.
TEST_F(Rounding, AdaRoundLearnsFromNearest) {
  for (const bool clamped : {false, true}) {
    RoundingProblem problem = make_problem({800, 17, 40}, 23, 7, clamped);
    const auto reduced = reduce(problem, algebra_);
    ASSERT_TRUE(reduced.has_value());
    const ClampedOutputs outputs(problem, *reduced, algebra_);
    Rounded rounded;
    rounded.scales = problem.nearest_scale;
    rounded.levels = Matrix(17, 40);
    for (int64_t r = 0; r < 17; ++r) {
      for (int64_t k = 0; k < 40; ++k)
        rounded.levels.at(r, k) =
            std::clamp(std::nearbyint(reduced->target.at(r, k) / rounded.scales[static_cast<size_t>(r)]), -7.0F, 7.0F);
    }
    rounded.bias = reduced->bias;
    const std::vector<double> before = outputs.fit_bias(rounded.levels, rounded.scales, rounded.bias);
    AdaRoundOptions options;
    options.iterations = 500;
    learn_rounding(problem, *reduced, outputs, options, algebra_, rounded);
    const std::vector<double> after = outputs.fit_bias(rounded.levels, rounded.scales, rounded.bias);
    double sum_before = 0;
    double sum_after = 0;
    for (size_t r = 0; r < before.size(); ++r) {
      sum_before += before[r];
      sum_after += after[r];
    }
    EXPECT_LT(sum_after, 0.7 * sum_before) << clamped;
  }
}

// Four weights of two bits: all 81 roundings.
TEST_F(Rounding, DescentFindsNearlyTheBestOfAll) {
  double found = 0;
  double best_of_all = 0;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    RoundingProblem problem = make_problem({200, 1, 4}, seed, 1, false);
    const auto reduced = reduce(problem, algebra_);
    ASSERT_TRUE(reduced.has_value());
    std::vector<float> scales = problem.nearest_scale;
    auto levels = round_successively(*reduced, problem, scales, algebra_);
    ASSERT_TRUE(levels.has_value());
    const std::vector<float> fixed = scales;
    descend(*reduced, problem, 10, *levels, scales, algebra_);
    found += channel_errors(*reduced, *levels, fixed, algebra_)[0];
    double best = 1e30;
    for (int code = 0; code < 81; ++code) {
      Matrix candidate(1, 4);
      for (int64_t k = 0, rest = code; k < 4; ++k, rest /= 3) candidate.at(0, k) = static_cast<float>(rest % 3 - 1);
      best = std::min(best, channel_errors(*reduced, candidate, fixed, algebra_)[0]);
    }
    best_of_all += best;
  }
  EXPECT_GE(found, best_of_all * 0.999);
  EXPECT_LT(found, best_of_all * 1.25);
}

TEST_F(Rounding, PrunedWeightsStayZeroAndTheOthersMakeUpForThem) {
  AdaRoundOptions options;
  options.iterations = 200;
  for (const int64_t limit : {7, 127}) {
    for (const bool clamped : {false, true}) {
      RoundingProblem problem = make_problem({700, 19, 33}, 37, limit, clamped);
      for (int64_t r = 0; r < 19; ++r) {
        for (int64_t k = 0; k < 33; ++k) {
          if (std::abs(problem.weights.at(r, k)) < 0.2F) problem.weights.at(r, k) = 0.0F;
        }
      }
      const Matrix weights = problem.weights;
      const auto rounded = round_by_reconstruction(problem, options, algebra_);
      ASSERT_TRUE(rounded.has_value()) << rounded.error().to_string();
      int64_t pruned = 0;
      for (int64_t r = 0; r < 19; ++r) {
        for (int64_t k = 0; k < 33; ++k) {
          if (weights.at(r, k) != 0.0F) continue;
          ++pruned;
          ASSERT_EQ(rounded->levels.at(r, k), 0.0F) << r << " " << k << " limit " << limit << clamped;
        }
      }
      EXPECT_GT(pruned, 19 * 33 / 3);
      EXPECT_LT(rounded->error, 0.9 * rounded->error_nearest) << limit << clamped;
    }
  }
}

TEST_F(Rounding, SameBitsOnAnyNumberOfThreads) {
  AdaRoundOptions options;
  options.iterations = 40;
  RoundingProblem first = make_problem({600, 70, 130}, 31, 7, true);
  const auto want = round_by_reconstruction(first, options, algebra_);
  ASSERT_TRUE(want.has_value());
  for (const int count : {1, 3}) {
    ThreadPool threads(count);
    const Algebra algebra = *Algebra::make(threads);
    RoundingProblem problem = make_problem({600, 70, 130}, 31, 7, true);
    const auto got = round_by_reconstruction(problem, options, algebra);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->scales, want->scales);
    EXPECT_EQ(got->bias, want->bias);
    EXPECT_EQ(got->error, want->error);
    for (int64_t r = 0; r < 70; ++r) {
      ASSERT_TRUE(std::equal(got->levels.values(r).begin(), got->levels.values(r).end(), want->levels.row(r)))
          << "channel " << r << " with " << count << " threads";
    }
  }
}

TEST_F(Rounding, DegenerateInputs) {
  AdaRoundOptions options;
  options.iterations = 20;
  RoundingProblem dead = make_problem({50, 3, 8}, 1, 7, true);  // constant inputs, an all-zero channel
  for (int64_t i = 0; i < 50; ++i) {
    for (int64_t k = 0; k < 8; ++k) dead.float_rows.at(i, k) = dead.quantized_rows.at(i, k) = 1.0F;
  }
  for (float& w : dead.weights.values(1)) w = 0.0F;
  dead.nearest_scale[1] = 1e-3F;
  const auto rounded = round_by_reconstruction(dead, options, algebra_);
  ASSERT_TRUE(rounded.has_value()) << rounded.error().to_string();
  for (const float bias : rounded->bias) EXPECT_TRUE(std::isfinite(bias));
  for (const float level : rounded->levels.values(1)) EXPECT_EQ(level, 0.0F);

  RoundingProblem nan = make_problem({50, 3, 8}, 1, 7, true);
  nan.quantized_rows.at(3, 4) = std::numeric_limits<float>::quiet_NaN();
  const auto refused = round_by_reconstruction(nan, options, algebra_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().to_string().find("Q092"), std::string::npos);

  RoundingProblem empty = make_problem({50, 3, 8}, 1, 7, true);
  empty.float_rows = empty.quantized_rows = Matrix(0, 8);
  EXPECT_FALSE(round_by_reconstruction(empty, options, algebra_).has_value());
}

TEST_F(Rounding, ShrinkageGrowsAsPicturesGetFewer) {
  std::mt19937 random(7);
  double last = 2;
  for (const int64_t pictures : {5, 50, 500}) {
    Matrix rows = random_matrix(pictures, 30, random);
    for (int64_t i = 0; i < pictures; ++i) {
      for (int64_t k = 1; k < 10; ++k) rows.at(i, k) += 0.7F * rows.at(i, 0);
    }
    Matrix gram(30, 30);
    algebra_.multiply(transposed(rows), rows, gram);
    for (int64_t k = 0; k < 30; ++k) {
      for (float& value : gram.values(k)) value /= static_cast<float>(pictures);
    }
    const double share = shrinkage(rows, gram, pictures, algebra_);
    EXPECT_LT(share, 0.6 * last) << pictures;
    EXPECT_GE(share, 0.0);
    last = share;
  }
  EXPECT_LT(last, 0.1);
  const Matrix one = random_matrix(1, 30, random);
  EXPECT_EQ(shrinkage(one, Matrix(30, 30), 1, algebra_), 1.0);
}

}  // namespace
}  // namespace hai::quantizer

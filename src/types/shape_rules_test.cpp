// Shape rules: what comes out for odd sizes and free batches, and that hostile numbers get a reason, never an overflow.
//
// The sanitizer builds run this too: an overflow in a rule fails there even where the result would look right.
#include "types/shape_rules.h"

#include <gtest/gtest.h>

#include <limits>

namespace hai {
namespace {

using Ints = std::vector<int64_t>;
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
const Dim kBatch{1, 0};

std::string text(const Rule<Shape>& rule) { return rule ? to_string(*rule, {}) : "refused: " + rule.reason(); }

testing::AssertionResult refused(const Rule<Shape>& rule, std::string_view part) {
  if (rule) return testing::AssertionFailure() << "accepted as " << to_string(*rule, {});
  if (rule.reason().find(part) == std::string::npos) return testing::AssertionFailure() << rule.reason();
  return testing::AssertionSuccess();
}

TEST(ShapeRules, AxesCountFromTheEnd) {
  EXPECT_EQ(*shape_rules::axis(-1, 4), 3);
  EXPECT_EQ(*shape_rules::axes(Ints{-1, 0}, 3), (std::vector<int>{0, 2}));
  EXPECT_FALSE(shape_rules::axis(4, 4));
  EXPECT_FALSE(shape_rules::axis(-5, 4));
  EXPECT_FALSE(shape_rules::axis(0, 0));
  EXPECT_FALSE(shape_rules::axis(kLeast, 4));
  EXPECT_FALSE(shape_rules::axes(Ints{1, -3}, 4) && shape_rules::axes(Ints{1, -3}, 4)->size() == 1);
  EXPECT_FALSE(shape_rules::axes(Ints{1, -3}, 4));
}

TEST(ShapeRules, Concat) {
  const Shape a = {kBatch, 13, 3};
  const Shape b = {kBatch, 19, 3};
  const Shape none = {kBatch, 0, 3};
  EXPECT_EQ(text(shape_rules::concat(std::vector<const Shape*>{&a, &b, &none}, 1)), "[?0, 32, 3]");
  EXPECT_EQ(text(shape_rules::concat(std::vector<const Shape*>{&a, &a}, 0)), "[2*?0, 13, 3]");
  EXPECT_TRUE(refused(shape_rules::concat(std::vector<const Shape*>{&a, &b}, 0), "only axis 0 may differ"));
  const Shape fixed = {2, 13, 3};
  EXPECT_TRUE(refused(shape_rules::concat(std::vector<const Shape*>{&a, &fixed}, 0), "symbolic"));
  const Shape huge = {kMost, 1};
  EXPECT_TRUE(refused(shape_rules::concat(std::vector<const Shape*>{&huge, &huge}, 0), "2^63"));
  const Shape flat = {13};
  EXPECT_TRUE(refused(shape_rules::concat(std::vector<const Shape*>{&a, &flat}, 0), "ranks differ"));
  EXPECT_TRUE(refused(shape_rules::concat({}, 0), "nothing to join"));
}

TEST(ShapeRules, Split) {
  const Shape x = {kBatch, 13};
  const auto parts = shape_rules::split(x, 1, Ints{6, 0, 7});
  ASSERT_TRUE(parts);
  EXPECT_EQ(to_string((*parts)[2], {}), "[?0, 7]");
  EXPECT_FALSE(shape_rules::split(x, 1, Ints{6, 6}));
  EXPECT_FALSE(shape_rules::split(x, 1, Ints{14, -1}));
  EXPECT_FALSE(shape_rules::split(x, 1, Ints{kMost, kMost, 15}));
  EXPECT_FALSE(shape_rules::split(x, 1, Ints{}));
  EXPECT_FALSE(shape_rules::split(x, 0, Ints{1}));
}

TEST(ShapeRules, Slice) {
  const Shape x = {kBatch, 13, 19};
  const auto slice = [&](Ints starts, Ints ends, Ints axes, Ints steps) {
    return shape_rules::slice(x, starts, ends, axes, steps);
  };
  EXPECT_EQ(text(slice({1, 18}, {13, -1}, {1, 2}, {2, -3})), "[?0, 6, 7]");
  EXPECT_EQ(text(slice({5}, {5}, {1}, {})), "[?0, 0, 19]");
  EXPECT_EQ(text(slice({7}, {3}, {1}, {1})), "[?0, 0, 19]");
  EXPECT_EQ(text(slice({0}, {kMost}, {0}, {1})), "[?0, 13, 19]");
  EXPECT_EQ(text(slice({0}, {13}, {1}, {int64_t{1} << 50})), "[?0, 1, 19]");
  EXPECT_TRUE(refused(slice({0}, {3}, {0}, {1}), "only be taken whole"));
  EXPECT_TRUE(refused(slice({0}, {14}, {1}, {1}), "must lie in"));
  EXPECT_TRUE(refused(slice({-1}, {3}, {1}, {1}), "must lie in"));
  EXPECT_TRUE(refused(slice({13}, {3}, {1}, {-1}), "must lie in"));
  EXPECT_TRUE(refused(slice({3}, {-2}, {1}, {-1}), "must lie in"));
  EXPECT_TRUE(refused(slice({0}, {3}, {1}, {0}), "step 0"));
  EXPECT_TRUE(refused(slice({0}, {3}, {1}, {kLeast}), "step"));
  EXPECT_TRUE(refused(slice({0, 0}, {3, 3}, {1, -2}, {}), "twice"));
  EXPECT_TRUE(refused(slice({0}, {3, 3}, {1}, {}), "as many entries"));
  EXPECT_TRUE(refused(slice({0}, {3}, {3}, {}), "out of range"));
}

TEST(ShapeRules, Pad) {
  const Shape x = {kBatch, 13, 1};
  EXPECT_EQ(text(shape_rules::pad(x, Ints{0, 2, 0, 0, 3, 1}, "constant")), "[?0, 18, 2]");
  EXPECT_EQ(text(shape_rules::pad(x, Ints{0, 12, 0, 0, 12, 0}, "reflect")), "[?0, 37, 1]");
  EXPECT_TRUE(refused(shape_rules::pad(x, Ints{0, 13, 0, 0, 0, 0}, "reflect"), "cannot be reflected"));
  EXPECT_TRUE(refused(shape_rules::pad(x, Ints{0, 0, 1, 0, 0, 0}, "reflect"), "cannot be reflected"));
  EXPECT_TRUE(refused(shape_rules::pad(x, Ints{1, 0, 0, 0, 0, 0}, "constant"), "symbolic"));
  EXPECT_TRUE(refused(shape_rules::pad(x, Ints{0, -1, 0, 0, 0, 0}, "constant"), "use slice"));
  EXPECT_TRUE(refused(shape_rules::pad(x, Ints{0, kMost, 0, 0, kMost, 0}, "constant"), "2^54"));
  EXPECT_TRUE(refused(shape_rules::pad(x, Ints{0, 1}, "constant"), "needs 6"));
  EXPECT_TRUE(refused(shape_rules::pad(x, Ints(6, 0), "wrap"), "none of"));
  EXPECT_TRUE(refused(shape_rules::pad({0, 3}, Ints{1, 0, 0, 0}, "edge"), "empty"));
}

TEST(ShapeRules, Reshape) {
  const Shape x = {kBatch, 7, 5, 3};
  EXPECT_EQ(text(shape_rules::reshape(x, Ints{0, -1})), "[?0, 105]");
  EXPECT_EQ(text(shape_rules::reshape(x, Ints{-1, 105})), "[?0, 105]");
  EXPECT_EQ(text(shape_rules::reshape(x, Ints{-1, 15})), "[7*?0, 15]");
  EXPECT_EQ(text(shape_rules::reshape(x, Ints{1, -1})), "[1, 105*?0]");
  EXPECT_EQ(text(shape_rules::reshape({1, 1}, Ints{})), "[]");
  EXPECT_EQ(text(shape_rules::reshape({0, 3}, Ints{0, 5, 7})), "[0, 5, 7]");
  EXPECT_TRUE(refused(shape_rules::reshape(x, Ints{1, 105}), "numbers of elements differ"));
  EXPECT_TRUE(refused(shape_rules::reshape(x, Ints{-1, 4}), "does not divide"));
  EXPECT_TRUE(refused(shape_rules::reshape(x, Ints{-1, -1}), "both -1"));
  EXPECT_TRUE(refused(shape_rules::reshape(x, Ints{-2}), "is -2"));
  EXPECT_TRUE(refused(shape_rules::reshape({6}, Ints{2, 0}), "does not have"));
  EXPECT_TRUE(refused(shape_rules::reshape({0, 3}, Ints{0, -1}), "does not divide"));
  EXPECT_TRUE(refused(shape_rules::reshape({6}, Ints{kMost, kMost}), "2^63"));
  EXPECT_TRUE(refused(shape_rules::reshape({1}, Ints(9, 1)), "at most 8"));
  // Two symbols: each must find itself again.
  const Shape two = {kBatch, Dim(1, 1), 3};
  EXPECT_EQ(text(shape_rules::reshape(two, Ints{0, 0, 3, 1})), "[?0, ?1, 3, 1]");
  EXPECT_TRUE(refused(shape_rules::reshape(two, Ints{-1, 3}), "does not divide"));
}

TEST(ShapeRules, TransposeExpandGatherReduce) {
  const Shape x = {kBatch, 13, 3};
  EXPECT_EQ(text(shape_rules::transpose(x, Ints{2, 0, 1})), "[3, ?0, 13]");
  EXPECT_TRUE(refused(shape_rules::transpose(x, Ints{2, 0, 0}), "no permutation"));
  EXPECT_TRUE(refused(shape_rules::transpose(x, Ints{2, 0}), "no permutation"));
  EXPECT_TRUE(refused(shape_rules::transpose(x, Ints{2, 0, 3}), "no permutation"));
  EXPECT_TRUE(refused(shape_rules::transpose(x, Ints{kLeast, 0, 1}), "no permutation"));
  EXPECT_TRUE(refused(shape_rules::transpose(x, Ints{}), "empty"));
  EXPECT_EQ(text(shape_rules::expand({kBatch, 1, 3}, Ints{2, -1, 13, 3})), "[2, ?0, 13, 3]");
  EXPECT_TRUE(refused(shape_rules::expand(x, Ints{2, 13, 3}), "does not broadcast"));
  EXPECT_EQ(text(shape_rules::expand_over({1, 1, 3}, Ints{-1, 5, -1}, {kBatch, 7})), "[?0, 5, 3]");
  EXPECT_EQ(text(shape_rules::expand_over({3}, Ints{-1, 5, 3}, {4})), "[4, 5, 3]");
  EXPECT_TRUE(refused(shape_rules::expand_over({2, 3}, Ints{-1, 3}, {4}), "not 1"));
  EXPECT_TRUE(refused(shape_rules::expand_over({1, 3}, Ints{4, 3}, {4}), "must be -1"));
  EXPECT_TRUE(refused(shape_rules::expand_over({}, Ints{}, {4}), "must be -1"));
  EXPECT_TRUE(refused(shape_rules::expand_over({1, 3}, Ints{-1, 3}, {}), "no axis"));
  EXPECT_TRUE(refused(shape_rules::expand_over({1, 3}, Ints{-1, 4}, {2}), "does not broadcast"));
  EXPECT_TRUE(refused(shape_rules::expand(x, Ints{13, 3}), "needs 3 to 8"));
  EXPECT_TRUE(refused(shape_rules::expand({3}, Ints{-1, 3}), "is -1"));
  EXPECT_TRUE(refused(shape_rules::expand({1, 1}, Ints{kMost, kMost}), "2^54"));
  EXPECT_EQ(text(shape_rules::gather(x, {2, 5}, 1)), "[?0, 2, 5, 3]");
  EXPECT_EQ(text(shape_rules::gather(x, {}, 2)), "[?0, 13]");
  EXPECT_TRUE(refused(shape_rules::gather({0, 3}, {2}, 0), "empty"));
  EXPECT_EQ(text(shape_rules::gather({0, 3}, {0}, 0)), "[0, 3]");
  EXPECT_TRUE(refused(shape_rules::gather(x, Shape(7, 1), 1), "rank 9"));
  EXPECT_EQ(text(shape_rules::reduce(x, std::vector<int>{0, 2}, true)), "[1, 13, 1]");
  EXPECT_EQ(text(shape_rules::reduce(x, std::vector<int>{1}, false)), "[?0, 3]");
}

TEST(ShapeRules, Pool) {
  const Shape x = {kBatch, 13, 19, 3};
  PoolWindow window;
  window.kernel = {3, 3};
  window.strides = {2, 2};
  window.pads = {1, 1, 1, 1};
  EXPECT_EQ(text(shape_rules::pool(x, window)), "[?0, 7, 10, 3]");
  window.pads = {0, 0, 0, 0};
  EXPECT_EQ(text(shape_rules::pool({1, 14, 14, 3}, window)), "[1, 6, 6, 3]");
  window.ceil_mode = true;
  EXPECT_EQ(text(shape_rules::pool({1, 14, 14, 3}, window)), "[1, 7, 7, 3]");
  // Rounding up would add a window that begins in the end padding: it does not exist (PyTorch and ONNX agree).
  window.kernel = {2, 2};
  window.strides = {2, 2};
  window.pads = {0, 0, 1, 1};
  EXPECT_EQ(text(shape_rules::pool({1, 2, 2, 1}, window)), "[1, 1, 1, 1]");
  EXPECT_TRUE(refused(shape_rules::pool({13, 19, 3}, window), "rank 3"));
  EXPECT_TRUE(refused(shape_rules::pool({1, kBatch, 19, 3}, window), "symbolic"));
  EXPECT_TRUE(refused(shape_rules::pool({1, 0, 19, 3}, window), "height is 0"));
  for (const int64_t bad : {int64_t{0}, int64_t{-1}, kLeast, kMost, int64_t{1} << 40}) {
    for (int which = 0; which < 3; ++which) {
      PoolWindow wrong;
      (which == 0 ? wrong.kernel : which == 1 ? wrong.strides : wrong.dilations)[1] = bad;
      EXPECT_TRUE(refused(shape_rules::pool(x, wrong), "must lie in 1 to 2^24"));
    }
    PoolWindow padded;
    padded.kernel = {2, 2};
    padded.pads = {0, bad, 0, 0};
    EXPECT_EQ(shape_rules::pool(x, padded) ? "accepted" : "refused", std::string(bad == 0 ? "accepted" : "refused"));
  }
  PoolWindow wide;
  wide.kernel = {14, 1};
  EXPECT_TRUE(refused(shape_rules::pool(x, wide), "reaches over 14"));
  wide.kernel = {int64_t{1} << 24, 1};
  wide.dilations = {int64_t{1} << 24, 1};
  wide.pads = {(int64_t{1} << 48) - (int64_t{1} << 25), 0, (int64_t{1} << 48) - (int64_t{1} << 25), 0};
  EXPECT_TRUE(shape_rules::pool(x, wide) || !shape_rules::pool(x, wide).reason().empty());
}

TEST(ShapeRules, Resize) {
  const Shape x = {kBatch, 13, 19, 3};
  EXPECT_EQ(text(shape_rules::resize(x, {}, std::vector<double>{2.0, 0.5})), "[?0, 26, 9, 3]");
  EXPECT_EQ(text(shape_rules::resize(x, Ints{1, 127}, {})), "[?0, 1, 127, 3]");
  EXPECT_TRUE(refused(shape_rules::resize(x, {}, {}), "either"));
  EXPECT_TRUE(refused(shape_rules::resize(x, Ints{1, 1}, std::vector<double>{1.0, 1.0}), "either"));
  EXPECT_TRUE(refused(shape_rules::resize(x, Ints{0, 1}, {}), "would have size 0"));
  EXPECT_TRUE(refused(shape_rules::resize(x, Ints{kMost, 1}, {}), "would have size"));
  EXPECT_TRUE(refused(shape_rules::resize(x, {}, std::vector<double>{0.01, 1.0}), "would have size 0"));
  EXPECT_TRUE(refused(shape_rules::resize(x, {}, std::vector<double>{1e300, 1.0}), "would have size"));
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {0.0, -1.0, infinity, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_TRUE(refused(shape_rules::resize(x, {}, std::vector<double>{bad, 1.0}), "not positive and finite"));
  }
  EXPECT_TRUE(refused(shape_rules::resize({1, kBatch, 3, 3}, Ints{2, 2}, {}), "symbolic"));
  EXPECT_TRUE(refused(shape_rules::resize({1, 2, 3}, Ints{2, 2}, {}), "rank 3"));
}

// Windows seen one by one, as a picture of what the closed forms say.
TEST(PoolWindows, TapsAndDivisorsAreThoseOfEachElement) {
  for (const int64_t size : {1, 2, 5, 13}) {
    for (int64_t kernel = 1; kernel <= 4; ++kernel) {
      for (int64_t dilation = 1; dilation <= 3; ++dilation) {
        PoolWindow window;
        window.kernel = {kernel, 1};
        window.strides = {2, 1};
        window.dilations = {dilation, 1};
        window.pads = {dilation * (kernel - 1) / 2, 0, dilation * (kernel - 1), 0};
        window.ceil_mode = true;
        const auto shape = shape_rules::pool({1, size, 1, 1}, window);
        if (!shape) continue;
        for (int64_t i = 0; i < (*shape)[1].value; ++i) {
          int64_t inside = 0;
          int64_t counted = 0;
          int64_t first = -1;
          for (int64_t k = 0; k < kernel; ++k) {
            const int64_t at = i * 2 - window.pads[0] + k * dilation;
            if (at < size + window.pads[2]) ++counted;
            if (at < 0 || at >= size) continue;
            if (inside++ == 0) first = at;
          }
          const TapRange taps = inside_taps(window, 0, size, i);
          ASSERT_EQ(taps.count, inside) << size << " " << kernel << " " << dilation << " " << i;
          if (inside > 0) {
            ASSERT_EQ(taps.first, first);
          }
          if (dilation > 1) continue;
          EXPECT_EQ(pool_divisor(window, 0, size, i), inside);
          window.count_padding = true;
          EXPECT_EQ(pool_divisor(window, 0, size, i), counted);
          for (const bool count_padding : {false, true}) {
            window.count_padding = count_padding;
            const DivisorBounds bounds = pool_divisor_bounds(window, 0, size, (*shape)[1].value);
            EXPECT_LE(bounds.least, pool_divisor(window, 0, size, i));
            EXPECT_GE(bounds.largest, pool_divisor(window, 0, size, i));
          }
          window.count_padding = false;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hai

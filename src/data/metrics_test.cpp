// Average precision on cases worked by hand (equality with pycocotools on random boxes is tested from Python), top-k
// with equal scores, divergence, the bootstrap's draws, hostile numbers.
#include "data/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

namespace hai::data {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

BoxMatches matched(int64_t pictures, const std::vector<TrueBox>& truth, const std::vector<ScoredBox>& answers,
                   const CocoOptions& options = {}) {
  auto result = BoxMatches::match(pictures, truth, answers, options);
  EXPECT_TRUE(result.has_value());
  return std::move(result).value();
}

TrueBox true_box(int64_t picture, int32_t category, std::array<double, 4> box, bool crowd = false) {
  return {picture, category, box, box[2] * box[3], crowd};
}

TEST(AveragePrecision, PerfectAnswersAreOne) {
  const std::vector<TrueBox> truth = {true_box(0, 3, {1, 2, 10, 20}), true_box(1, 5, {0, 0, 7, 7})};
  const auto figures = matched(2, truth, {{0, 3, {1, 2, 10, 20}, 0.9}, {1, 5, {0, 0, 7, 7}, 0.2}}).average_precision();
  EXPECT_NEAR(figures.map, 1, 1e-12);
  EXPECT_NEAR(figures.map50, 1, 1e-12);
  EXPECT_NEAR(figures.recall, 1, 1e-12);
}

TEST(AveragePrecision, AnOverlapOf0_6CountsAtThreeThresholds) {
  // 6 of 10 rows shared, the answer within the truth: overlap 0.6, a hit at 0.50, 0.55 and 0.60.
  const auto figures = matched(1, {true_box(0, 0, {0, 0, 10, 10})}, {{0, 0, {0, 0, 10, 6}, 0.5}}).average_precision();
  EXPECT_NEAR(figures.map, 0.3, 1e-12);
  EXPECT_NEAR(figures.map50, 1.0, 1e-12);
  EXPECT_EQ(figures.map75, 0.0);
}

TEST(AveragePrecision, AMissBeforeTheHitHalvesThePrecision) {
  const auto figures =
      matched(1, {true_box(0, 0, {0, 0, 10, 10})}, {{0, 0, {50, 50, 5, 5}, 0.9}, {0, 0, {0, 0, 10, 10}, 0.5}})
          .average_precision();
  EXPECT_NEAR(figures.map, 0.5, 1e-12);
}

TEST(AveragePrecision, CrowdsTakeAnyNumberAndCountNothing) {
  const std::vector<TrueBox> truth = {true_box(0, 0, {0, 0, 10, 10}), true_box(0, 0, {100, 100, 50, 50}, true)};
  const std::vector<ScoredBox> answers = {
      {0, 0, {110, 110, 5, 5}, 0.9}, {0, 0, {120, 120, 5, 5}, 0.8}, {0, 0, {0, 0, 10, 10}, 0.1}};
  EXPECT_NEAR(matched(1, truth, answers).average_precision().map, 1, 1e-12);
}

TEST(AveragePrecision, NoTruthIsMinusOneAndNoAnswerZero) {
  EXPECT_EQ(matched(1, {}, {{0, 0, {0, 0, 1, 1}, 1}}).average_precision().map, -1);
  EXPECT_EQ(matched(1, {true_box(0, 0, {0, 0, 1, 1})}, {}).average_precision().map, 0);
}

TEST(AveragePrecision, OnlyTheBestAnswersOfAPictureCount) {
  std::vector<ScoredBox> answers(1, {0, 0, {0, 0, 10, 10}, 0.1});
  for (int i = 0; i < 13; ++i) answers.push_back({0, 0, {50, 50, 5, 5}, 0.5});
  CocoOptions options;
  options.max_detections = 13;
  EXPECT_EQ(matched(1, {true_box(0, 0, {0, 0, 10, 10})}, answers, options).average_precision().map, 0);
  options.max_detections = 14;
  EXPECT_NEAR(matched(1, {true_box(0, 0, {0, 0, 10, 10})}, answers, options).average_precision().map, 1.0 / 14, 1e-12);
}

TEST(AveragePrecision, APictureDrawnTwiceStandsTwice) {
  const std::vector<TrueBox> once = {true_box(0, 0, {0, 0, 10, 10}), true_box(1, 0, {0, 0, 10, 10})};
  const std::vector<ScoredBox> answers = {{0, 0, {0, 0, 10, 9}, 0.9}, {1, 0, {40, 0, 10, 9}, 0.8}};
  const std::vector<TrueBox> repeated = {once[0], true_box(2, 0, {0, 0, 10, 10}), once[1]};
  const std::vector<ScoredBox> repeated_answers = {answers[0], answers[1], {2, 0, {0, 0, 10, 9}, 0.9}};
  const std::vector<int32_t> copies = {2, 1};
  EXPECT_EQ(matched(2, once, answers).average_precision(copies).map,
            matched(3, repeated, repeated_answers).average_precision().map);
  const std::vector<int32_t> without = {0, 1};
  EXPECT_EQ(matched(2, once, answers).average_precision(without).map, 0);
}

TEST(AveragePrecision, RefusesHostileBoxes) {
  const auto id_of = [](const std::vector<TrueBox>& truth, const std::vector<ScoredBox>& answers) {
    const auto result = BoxMatches::match(1, truth, answers, {});
    return result.has_value() ? std::string() : result.error().id;
  };
  EXPECT_EQ(id_of({true_box(1, 0, {0, 0, 1, 1})}, {}), "D040");
  EXPECT_EQ(id_of({}, {{-1, 0, {0, 0, 1, 1}, 0}}), "D040");
  EXPECT_EQ(id_of({true_box(0, 0, {0, 0, -1, 1})}, {}), "D041");
  EXPECT_EQ(id_of({}, {{0, 0, {0, kNan, 1, 1}, 0}}), "D041");
  EXPECT_EQ(id_of({}, {{0, 0, {0, 0, 1, 1}, kNan}}), "D042");
}

TEST(Scores, EqualScoresGoToTheLowerClass) {
  const std::vector<float> values = {1, 3, 3, 0, 5, 5, 5, 5};
  const Scores scores{values, 4};
  EXPECT_EQ(top_k_hits(scores, std::vector<int64_t>{1, 0}, 1).value(), (std::vector<uint8_t>{1, 1}));
  EXPECT_EQ(top_k_hits(scores, std::vector<int64_t>{2, 1}, 1).value(), (std::vector<uint8_t>{0, 0}));
  EXPECT_EQ(top_k_hits(scores, std::vector<int64_t>{2, 2}, 2).value(), (std::vector<uint8_t>{1, 0}));
  EXPECT_EQ(best_classes(scores).value(), (std::vector<int64_t>{1, 0}));
}

TEST(Scores, DivergenceByHand) {
  // Shares 1/2, 1/2 against 1/4, 3/4.
  const std::vector<float> even = {0, 0, 7, 7};
  const std::vector<float> odd = {0, std::log(3.0F), 7, 7};
  const auto rows = divergences({even, 2}, {odd, 2}).value();
  EXPECT_NEAR(rows[0], 0.5 * std::log(2.0) + 0.5 * std::log(2.0 / 3.0), 1e-7);  // log(3) is rounded to f32
  EXPECT_EQ(rows[1], 0);
  const std::vector<float> far = {-1e30F, 0, -kInfinity, 0};
  EXPECT_NEAR(divergences({far, 2}, {far, 2}).value()[1], 0, 1e-12);
}

TEST(Scores, RefusesWhatDoesNotFit) {
  const std::vector<float> values = {1, 2, 3, 4};
  const std::vector<float> bad = {1, std::numeric_limits<float>::quiet_NaN(), 3, kInfinity};
  EXPECT_EQ(best_classes({values, 3}).error().id, "D043");
  EXPECT_EQ(best_classes({{}, 3}).error().id, "D043");
  EXPECT_EQ(best_classes({values, 0}).error().id, "D043");
  EXPECT_EQ(best_classes({bad, 4}).error().id, "D044");
  EXPECT_EQ(top_k_hits({values, 2}, std::vector<int64_t>{1}, 1).error().id, "D045");
  EXPECT_EQ(top_k_hits({values, 2}, std::vector<int64_t>{1, 1}, 3).error().id, "D046");
  EXPECT_EQ(top_k_hits({values, 2}, std::vector<int64_t>{1, 2}, 1).error().id, "D047");
  EXPECT_EQ(top_k_hits({values, 2}, std::vector<int64_t>{-1, 1}, 1).error().id, "D047");
  EXPECT_EQ(divergences({values, 2}, {values, 4}).error().id, "D048");
}

TEST(Bootstrap, DrawsAsManyAsThereAreAndRepeats) {
  const auto copies = bootstrap_copies(437, 1, 0);
  EXPECT_EQ(std::accumulate(copies.begin(), copies.end(), 0), 437);
  EXPECT_EQ(copies, bootstrap_copies(437, 1, 0));
  EXPECT_NE(copies, bootstrap_copies(437, 1, 1));
  EXPECT_NE(copies, bootstrap_copies(437, 2, 0));
  // Of n draws each picture is missed with probability (1 - 1/n)^n, about 0.368: within five standard deviations.
  const auto missed = static_cast<double>(std::count(copies.begin(), copies.end(), 0));
  EXPECT_NEAR(missed / 437, 0.368, 5 * 0.015);
  EXPECT_TRUE(bootstrap_copies(0, 1, 0).empty());
}

TEST(Bootstrap, EveryPictureIsDrawnAsOftenAsAnother) {
  std::vector<int64_t> sums(7, 0);
  constexpr int kReplicates = 3000;
  for (int replicate = 0; replicate < kReplicates; ++replicate) {
    const auto copies = bootstrap_copies(7, 5, replicate);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += copies[i];
  }
  // Binomial(21000, 1/7): mean 3000, standard deviation 51.
  for (const int64_t sum : sums) EXPECT_NEAR(static_cast<double>(sum), 3000, 5 * 51);
}

}  // namespace
}  // namespace hai::data

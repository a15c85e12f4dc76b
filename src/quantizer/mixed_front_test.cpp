// The front of mixtures against all mixtures there are.
#include "quantizer/mixed_front.h"

#include <gtest/gtest.h>

#include <random>

namespace hai::quantizer {
namespace {

std::vector<std::vector<PrecisionChoice>> random_choices(int layers, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(0.1, 1.0);
  std::vector<std::vector<PrecisionChoice>> out;
  for (int i = 0; i < layers; ++i) {
    double cost = uniform(random);
    double damage = 3;
    std::vector<PrecisionChoice> choices;
    for (int k = 0; k < 3; ++k) {
      choices.push_back({{}, cost, damage});
      cost += uniform(random);
      damage -= uniform(random);
    }
    out.push_back(std::move(choices));
  }
  return out;
}

TEST(ParetoFront, NoMixtureIsCheaperAndLessDamaging) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const auto choices = random_choices(5, seed);
    const std::vector<Mixture> front = pareto_front(choices, 0.5);
    ASSERT_GE(front.size(), 6U);
    for (const Mixture& vertex : front) {
      double cost = 0;
      double damage = 0.5;
      for (size_t i = 0; i < choices.size(); ++i) {
        cost += choices[i][vertex.choices[i]].cost;
        damage += choices[i][vertex.choices[i]].damage;
      }
      EXPECT_NEAR(vertex.cost, cost, 1e-9);
      EXPECT_NEAR(vertex.damage, damage, 1e-9);
      for (int code = 0; code < 243; ++code) {
        double other_cost = 0;
        double other_damage = 0.5;
        for (int i = 0, rest = code; i < 5; ++i, rest /= 3) {
          const PrecisionChoice& choice = choices[static_cast<size_t>(i)][static_cast<size_t>(rest % 3)];
          other_cost += choice.cost;
          other_damage += choice.damage;
        }
        EXPECT_FALSE(other_cost < cost - 1e-9 && other_damage < damage - 1e-9) << "seed " << seed << " code " << code;
      }
    }
  }
}

TEST(ParetoFront, GoesFromTheCheapestToTheLeastDamage) {
  const auto choices = random_choices(7, 99);
  const std::vector<Mixture> front = pareto_front(choices, 0);
  for (const size_t choice : front.front().choices) EXPECT_EQ(choice, 0U);
  for (const size_t choice : front.back().choices) EXPECT_EQ(choice, 2U);
  for (size_t i = 1; i < front.size(); ++i) {
    EXPECT_GT(front[i].cost, front[i - 1].cost);
    EXPECT_LT(front[i].damage, front[i - 1].damage);
  }
}

TEST(ParetoFront, ChoicesThatDoNotHelpAreNeverTaken) {
  // 8 bits help nothing here, 16 do; and the second layer has nothing better at all.
  const std::vector<std::vector<PrecisionChoice>> choices = {{{{}, 1, 2.0}, {{}, 2, 2.0}, {{}, 4, 0.5}},
                                                             {{{}, 1, 1.0}, {{}, 2, 1.5}, {{}, 4, 1.0}}};
  const std::vector<Mixture> front = pareto_front(choices, 0);
  ASSERT_EQ(front.size(), 2U);
  EXPECT_EQ(front[1].choices, (std::vector<size_t>{2, 0}));
  EXPECT_EQ(front[1].damage, 1.5);
}

TEST(ParetoFront, NoLayerIsOneEmptyMixture) {
  const std::vector<Mixture> front = pareto_front({}, 0.25);
  ASSERT_EQ(front.size(), 1U);
  EXPECT_EQ(front[0].damage, 0.25);
}

}  // namespace
}  // namespace hai::quantizer

// The forecast of points against simulated answers, and its intervals.
#include "quantizer/drop_forecast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace hai::quantizer {
namespace {

constexpr size_t kRivals = 5;
constexpr double kGrowth = -0.1;  // margins shrink by a tenth

struct Simulation {
  std::mt19937 random{4};
  std::exponential_distribution<double> margin{1.0 / 3.0};
  std::normal_distribution<double> normal{0.0, 1.0};

  // Margins of one picture, nearest first, and what their loss costs.
  ClassAnswer picture() {
    ClassAnswer answer;
    for (size_t j = 0; j < kRivals; ++j) answer.margins.push_back(margin(random));
    std::sort(answer.margins.begin(), answer.margins.end());
    for (const double m : answer.margins) answer.regrets.push_back(std::tanh(m / 2));
    return answer;
  }

  // Each logit gets noise of its own; so margins share the first's.
  void disturb(ClassAnswer& answer, double noise) {
    const double first = noise * normal(random);
    answer.disturbances.clear();
    answer.agrees = true;
    answer.regret = 0;
    double least = 0;
    for (size_t j = 0; j < kRivals; ++j) {
      answer.disturbances.push_back(kGrowth * answer.margins[j] + first - noise * normal(random));
      const double left = answer.margins[j] + answer.disturbances[j];
      if (left >= least) continue;
      least = left;
      answer.agrees = false;
      answer.regret = answer.regrets[j];
    }
  }
};

OutputScore score_of(Simulation& simulation, int samples, int views, double noise) {
  OutputScore score;
  score.classes = true;
  for (int i = 0; i < samples; ++i) {
    const ClassAnswer picture = simulation.picture();
    for (int view = 0; view < views; ++view) {
      ClassAnswer answer = picture;
      simulation.disturb(answer, noise);
      answer.sample = i;
      answer.kl = 0.01;
      score.answers.push_back(answer);
    }
  }
  return score;
}

TEST(DropForecast, ForecastsWhatASimulationCounts) {
  for (const double noise : {0.1, 0.5}) {
    Simulation simulation;
    const OutputScore score = score_of(simulation, 2000, 1, noise);
    const DropForecast forecast = forecast_drop({score}, 1);
    // The same pictures, disturbed again and again.
    double changed = 0;
    double points = 0;
    constexpr int kDraws = 50;
    for (int draw = 0; draw < kDraws; ++draw) {
      for (ClassAnswer answer : score.answers) {
        simulation.disturb(answer, noise);
        changed += answer.agrees ? 0.0 : 1.0 / (kDraws * 2000.0);
        points += answer.regret * 100.0 / (kDraws * 2000.0);
      }
    }
    // Noise is estimated from five margins a picture: a twelfth of its variance too much or too little on average.
    EXPECT_NEAR(forecast.overturned, changed, 0.1 * changed);
    EXPECT_NEAR(forecast.points, points, 0.2 * points);
    EXPECT_NEAR(forecast.counted_overturned, changed, 0.2 * changed);  // 2000 pictures: 7 % at one sigma
    EXPECT_LT(forecast.points_low, forecast.points);
    EXPECT_GT(forecast.points_high, forecast.points);
    EXPECT_NEAR(forecast.damage, 0.01, 1e-12);
    EXPECT_EQ(forecast.samples, 2000);
  }
}

TEST(DropForecast, IsSteadierThanCounting) {
  Simulation simulation;
  double forecast_square = 0;
  double counted_square = 0;
  constexpr int kSets = 40;
  std::vector<double> forecasts;
  std::vector<double> counts;
  for (int set = 0; set < kSets; ++set) {
    const DropForecast forecast = forecast_drop({score_of(simulation, 40, 1, 0.4)}, 1);
    forecasts.push_back(forecast.points);
    counts.push_back(forecast.counted_points);
  }
  const auto variance = [](const std::vector<double>& values, double& out) {
    double mean = 0;
    for (const double v : values) mean += v / static_cast<double>(values.size());
    for (const double v : values) out += (v - mean) * (v - mean);
  };
  variance(forecasts, forecast_square);
  variance(counts, counted_square);
  EXPECT_LT(forecast_square, 0.7 * counted_square);
}

TEST(DropForecast, ViewsOfOneSampleAreNoMoreSamples) {
  Simulation simulation;
  const OutputScore score = score_of(simulation, 30, 1, 0.4);
  OutputScore copied;
  copied.classes = true;
  for (int view = 0; view < 6; ++view)
    copied.answers.insert(copied.answers.end(), score.answers.begin(), score.answers.end());
  const DropForecast once = forecast_drop({score}, 1);
  const DropForecast repeated = forecast_drop({copied}, 1);
  EXPECT_EQ(repeated.samples, 30);
  EXPECT_NEAR(repeated.points, once.points, 1e-9);
  EXPECT_NEAR(repeated.points_high, once.points_high, 1e-9);
  EXPECT_NEAR(repeated.points_low, once.points_low, 1e-9);
}

TEST(DropForecast, NoDisturbanceIsNoDrop) {
  OutputScore score;
  score.classes = true;
  for (int i = 0; i < 5; ++i) score.answers.push_back({i, 0, true, 0, {0.1, 2.0}, {0.05, 0.6}, {0, 0}});
  const DropForecast forecast = forecast_drop({score}, 1);
  EXPECT_EQ(forecast.points, 0);
  EXPECT_EQ(forecast.points_high, 0);
  EXPECT_EQ(forecast.overturned_high, 0);
}

TEST(DropForecast, NothingSeenIsNothingSaid) {
  EXPECT_EQ(forecast_drop({}, 1).points, 0);
  OutputScore score;
  score.classes = true;
  EXPECT_EQ(forecast_drop({score}, 1).samples, 0);
}

}  // namespace
}  // namespace hai::quantizer

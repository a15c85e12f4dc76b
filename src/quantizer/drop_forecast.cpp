// Expected drop from margins.
//
// Sixty photos hold a handful of overturned answers: counting them resolves nothing. So every answer is asked how
// likely noise of the strength that it met is to overturn it. The model: each logit errs by Gaussian noise of its own,
// whose variance is that of the answer's disturbed margins (half of their mean square, since a margin has two logits),
// after the share that all margins shrink by, fitted over all answers, is taken out. Rivals share the first class's
// noise, so the chance that none of them wins is an integral over it. An overturned answer costs what the float model
// says it costs: the difference of the two classes' probabilities. Two classes that are close cost little, and rightly
// so: the second is then right almost as often as the first. Intervals by bootstrap over samples, all views of one
// sample together. Without classes one point is one per cent of relative RMS error.
#include "quantizer/drop_forecast.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <random>

namespace hai::quantizer {
namespace {

constexpr int kResamples = 1000;
constexpr double kTail = 0.1;
constexpr double kMostShrinking = 0.9;  // of a margin
// The integral over the first class's noise: the trapezoidal rule, which for a bell is exact beyond need.
constexpr double kReach = 5.0;
constexpr double kStep = 0.25;

struct Expected {
  double points = 0;
  double overturned = 0;

  void add(const Expected& other, double weight) {
    points += weight * other.points;
    overturned += weight * other.overturned;
  }
};

double normal_share_below(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

// By how much margins change in proportion to themselves, least squares; -0.1 where they shrink by a tenth.
double common_growth(const std::vector<const ClassAnswer*>& answers) {
  double product = 0;
  double square = 0;
  for (const ClassAnswer* answer : answers) {
    for (size_t j = 0; j < answer->margins.size(); ++j) {
      product += answer->margins[j] * answer->disturbances[j];
      square += answer->margins[j] * answer->margins[j];
    }
  }
  return square > 0 ? std::max(product / square, -kMostShrinking) : 0.0;
}

// Standard deviation of the noise of one logit.
double noise_of(const ClassAnswer& answer, double growth) {
  double square = 0;
  for (size_t j = 0; j < answer.margins.size(); ++j)
    square += std::pow(answer.disturbances[j] - growth * answer.margins[j], 2);
  return answer.margins.empty() ? 0.0 : std::sqrt(square / static_cast<double>(2 * answer.margins.size()));
}

Expected expected_of(const ClassAnswer& answer, double growth) {
  Expected expected;
  const double noise = noise_of(answer, growth);
  if (noise <= 0) return expected;
  double weights = 0;
  for (double x = -kReach; x <= kReach; x += kStep) {
    const double weight = std::exp(-0.5 * x * x);
    weights += weight;
    double stays = 1;
    double chances = 0;
    double cost = 0;
    for (size_t j = 0; j < answer.margins.size(); ++j) {
      const double chance = normal_share_below(-(1 + growth) * answer.margins[j] / noise - x);
      stays *= 1 - chance;
      chances += chance;
      cost += chance * answer.regrets[j];
    }
    // Only one rival can win: the chances of several are scaled to that of any.
    if (chances > 0) expected.add({100 * cost * (1 - stays) / chances, 1 - stays}, weight);
  }
  expected.points /= weights;
  expected.overturned /= weights;
  return expected;
}

double quantile(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

// All views of one sample.
struct SampleSum {
  Expected sum;
  double count = 0;
};

void set_intervals(const std::vector<SampleSum>& samples, uint64_t seed, DropForecast& forecast) {
  std::mt19937_64 random(seed);
  std::vector<double> points;
  std::vector<double> overturned;
  for (int i = 0; i < kResamples; ++i) {
    SampleSum drawn;
    for (size_t k = 0; k < samples.size(); ++k) {
      const SampleSum& sample = samples[random() % samples.size()];
      drawn.sum.add(sample.sum, 1);
      drawn.count += sample.count;
    }
    points.push_back(drawn.sum.points / drawn.count);
    overturned.push_back(drawn.sum.overturned / drawn.count);
  }
  forecast.points_low = quantile(points, kTail);
  forecast.points_high = quantile(points, 1 - kTail);
  forecast.overturned_low = quantile(overturned, kTail);
  forecast.overturned_high = quantile(overturned, 1 - kTail);
}

DropForecast forecast_classes(const std::vector<OutputScore>& outputs, uint64_t seed) {
  DropForecast forecast;
  forecast.classes = true;
  std::vector<const ClassAnswer*> answers;
  for (const OutputScore& output : outputs) {
    for (const ClassAnswer& answer : output.answers) answers.push_back(&answer);
  }
  if (answers.empty()) return forecast;
  const double growth = common_growth(answers);
  std::map<int64_t, SampleSum> by_sample;
  Expected mean;
  const double share = 1.0 / static_cast<double>(answers.size());
  for (const ClassAnswer* answer : answers) {
    const Expected expected = expected_of(*answer, growth);
    SampleSum& sample = by_sample[answer->sample];
    sample.sum.add(expected, 1);
    sample.count += 1;
    mean.add(expected, share);
    forecast.damage += share * std::max(answer->kl, 0.0);
    forecast.counted_points += share * 100 * answer->regret;
    forecast.counted_overturned += answer->agrees ? 0.0 : share;
  }
  forecast.points = mean.points;
  forecast.overturned = mean.overturned;
  forecast.samples = static_cast<int64_t>(by_sample.size());
  std::vector<SampleSum> samples;
  for (const auto& [index, sample] : by_sample) samples.push_back(sample);
  set_intervals(samples, seed, forecast);
  return forecast;
}

DropForecast forecast_errors(const std::vector<OutputScore>& outputs, uint64_t seed) {
  DropForecast forecast;
  std::vector<double> energies;  // a sample: the mean over outputs of relative error energy
  for (const OutputScore& output : outputs) {
    energies.resize(std::max(energies.size(), output.sample_errors.size()), 0.0);
    for (size_t i = 0; i < output.sample_errors.size(); ++i)
      energies[i] += std::pow(output.sample_errors[i], 2) / static_cast<double>(outputs.size());
  }
  if (energies.empty()) return forecast;
  const auto points_of = [](double energy) { return 100 * std::sqrt(energy); };
  for (const double energy : energies) forecast.damage += energy / static_cast<double>(energies.size());
  forecast.points = points_of(forecast.damage);
  forecast.counted_points = forecast.points;
  forecast.samples = static_cast<int64_t>(energies.size());
  std::mt19937_64 random(seed);
  std::vector<double> points;
  for (int i = 0; i < kResamples; ++i) {
    double sum = 0;
    for (size_t k = 0; k < energies.size(); ++k) sum += energies[random() % energies.size()];
    points.push_back(points_of(sum / static_cast<double>(energies.size())));
  }
  forecast.points_low = quantile(points, kTail);
  forecast.points_high = quantile(points, 1 - kTail);
  return forecast;
}

}  // namespace

DropForecast forecast_drop(const std::vector<OutputScore>& outputs, uint64_t seed) {
  const bool classes = std::any_of(outputs.begin(), outputs.end(), [](const OutputScore& o) { return o.classes; });
  return classes ? forecast_classes(outputs, seed) : forecast_errors(outputs, seed);
}

std::string drop_rule(bool classes) {
  if (classes) {
    return "points: expected drop of top-1. Each answer's chance that noise of the strength it met overturns its "
           "margin, times what the change costs (difference of the float model's probabilities). Interval: 80 %, "
           "bootstrap over samples; its upper end must stay under the goal.";
  }
  return "points: relative RMS error of the outputs in per cent, since no output holds classes; a detector's fidelity "
         "falls by about as much. Interval: 80 %, bootstrap over samples; its upper end must stay under the goal.";
}

}  // namespace hai::quantizer

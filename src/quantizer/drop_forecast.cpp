// Expected drop from margins.
//
// Sixty photos hold one or two overturned answers: counting them resolves nothing. So the question is asked of every
// photo: how likely is it that a disturbance like those seen here overturns its margin? Disturbances of the margins
// between the first class and its nearest rivals are pooled over all photos; the chance of each overturning is their
// share beyond the margin, smoothed by a Gaussian kernel. An overturned answer costs the difference of the float
// model's probabilities of the two classes, and at least a quarter of an answer: where two classes compete, networks
// are right with the first about half the time and with the second about a quarter. Intervals by bootstrap over photos,
// the pool resampled with them. Without classes one point is one per cent of relative RMS error.
#include "quantizer/drop_forecast.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace hai::quantizer {
namespace {

constexpr int kResamples = 400;
constexpr double kLeastRegret = 0.25;
constexpr double kKernelWidth = 0.3;  // of the pool's standard deviation
constexpr double kTail = 0.1;
constexpr size_t kMaxPool = 512;  // disturbances; beyond it every k-th counts

struct Expected {
  double points = 0;
  double overturned = 0;
};

// P(disturbance < -margin).
double overturn_chance(double margin, const std::vector<double>& pool, double width) {
  double sum = 0;
  for (const double disturbance : pool) {
    const double z = (-margin - disturbance) / width;
    sum += z > 4 ? 1.0 : z < -4 ? 0.0 : 0.5 * std::erfc(-z / std::sqrt(2.0));
  }
  return sum / static_cast<double>(pool.size());
}

// Disturbances of `disturbed`, margins of `answers`.
Expected expected_of(const std::vector<const ClassAnswer*>& disturbed, const std::vector<const ClassAnswer*>& answers) {
  std::vector<double> pool;
  for (const ClassAnswer* answer : disturbed)
    pool.insert(pool.end(), answer->disturbances.begin(), answer->disturbances.end());
  if (pool.size() > kMaxPool) {
    const size_t step = (pool.size() + kMaxPool - 1) / kMaxPool;
    for (size_t i = 0; i * step < pool.size(); ++i) pool[i] = pool[i * step];
    pool.resize((pool.size() + step - 1) / step);
  }
  double mean = 0;
  double square = 0;
  for (const double value : pool) {
    mean += value;
    square += value * value;
  }
  const double count = std::max<double>(static_cast<double>(pool.size()), 1);
  const double deviation = std::sqrt(std::max(square / count - mean * mean / (count * count), 0.0));
  Expected expected;
  if (pool.empty() || square == 0) return expected;
  const double width = std::max(kKernelWidth * deviation, 1e-9);
  for (const ClassAnswer* answer : answers) {
    double stays = 1;
    double chances = 0;
    double cost = 0;
    for (size_t j = 0; j < answer->margins.size(); ++j) {
      const double chance = overturn_chance(answer->margins[j], pool, width);
      stays *= 1 - chance;
      chances += chance;
      cost += chance * std::max(answer->regrets[j], kLeastRegret);
    }
    // Only one rival can win: the chances of several are scaled to that of any.
    if (chances > 0) expected.points += cost * (1 - stays) / chances;
    expected.overturned += 1 - stays;
  }
  expected.points *= 100.0 / static_cast<double>(answers.size());
  expected.overturned /= static_cast<double>(answers.size());
  return expected;
}

double quantile(std::vector<double>& values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

DropForecast forecast_classes(const std::vector<OutputScore>& outputs, uint64_t seed,
                              const std::vector<ClassAnswer>& population) {
  std::vector<const ClassAnswer*> answers;
  DropForecast forecast;
  forecast.classes = true;
  for (const OutputScore& output : outputs) {
    for (const ClassAnswer& answer : output.answers) {
      answers.push_back(&answer);
      forecast.damage += std::max(answer.kl, 0.0);
    }
  }
  if (answers.empty()) return forecast;
  forecast.damage /= static_cast<double>(answers.size());
  std::vector<const ClassAnswer*> margins;
  for (const ClassAnswer& answer : population) margins.push_back(&answer);
  if (margins.empty()) margins = answers;
  const Expected expected = expected_of(answers, margins);
  forecast.points = expected.points;
  forecast.overturned = expected.overturned;
  std::mt19937_64 random(seed);
  std::vector<double> points;
  std::vector<double> overturned;
  std::vector<const ClassAnswer*> drawn(answers.size());
  std::vector<const ClassAnswer*> drawn_margins(margins.size());
  for (int i = 0; i < kResamples; ++i) {
    for (const ClassAnswer*& answer : drawn) answer = answers[random() % answers.size()];
    for (const ClassAnswer*& answer : drawn_margins) answer = margins[random() % margins.size()];
    const Expected resampled = expected_of(drawn, drawn_margins);
    points.push_back(resampled.points);
    overturned.push_back(resampled.overturned);
  }
  forecast.points_low = quantile(points, kTail);
  forecast.points_high = quantile(points, 1 - kTail);
  forecast.overturned_low = quantile(overturned, kTail);
  forecast.overturned_high = quantile(overturned, 1 - kTail);
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

DropForecast forecast_drop(const std::vector<OutputScore>& outputs, uint64_t seed,
                           const std::vector<ClassAnswer>& population) {
  const bool classes = std::any_of(outputs.begin(), outputs.end(), [](const OutputScore& o) { return o.classes; });
  return classes ? forecast_classes(outputs, seed, population) : forecast_errors(outputs, seed);
}

std::string drop_rule(bool classes) {
  if (classes) {
    return "points: expected drop of top-1. Each sample's chance that a disturbance like those seen overturns its "
           "margin, times what the changed answer costs (float probabilities, at least a quarter of an answer). "
           "Interval: 80 %, bootstrap over samples.";
  }
  return "points: relative RMS error of the outputs in per cent, since no output holds classes; a detector's fidelity "
         "falls by about as much. Interval: 80 %, bootstrap over samples.";
}

}  // namespace hai::quantizer

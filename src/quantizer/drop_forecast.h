// From disturbed outputs to points: how much accuracy a quantized model is expected to lose, with an interval.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quantizer/output_scores.h"

namespace hai::quantizer {

struct DropForecast {
  bool classes = false;
  double damage = 0;  // what the search steers by: mean KL in nats; without classes: error energy over signal energy
  double points = 0;  // expected drop in points (of 100), with its interval
  double points_low = 0;
  double points_high = 0;
  double overturned = 0;  // expected share of first classes that change, 0..1; 0 without classes
  double overturned_low = 0;
  double overturned_high = 0;
  double counted_points = 0;  // the same two as they happened on these samples, which is the noisier figure
  double counted_overturned = 0;
  int64_t samples = 0;  // that were independent: views of one sample count once
};

// Interval: percentile bootstrap over samples (all views of one together), 80 %: 10 % on each side. Deterministic in
// `seed`.
DropForecast forecast_drop(const std::vector<OutputScore>& outputs, uint64_t seed);

// The rule in words, for people.
std::string drop_rule(bool classes);

}  // namespace hai::quantizer

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
};

// Interval: percentile bootstrap over samples, 80 % (10 % on each side). Deterministic in `seed`.
// `population`: answers of the float model on more samples, whose margins count too (their disturbances do not):
// margins are scarce, and they do not depend on the quantized model. Empty: those of `outputs`.
DropForecast forecast_drop(const std::vector<OutputScore>& outputs, uint64_t seed,
                           const std::vector<ClassAnswer>& population = {});

// The rule in words, for people.
std::string drop_rule(bool classes);

}  // namespace hai::quantizer

// What a mixed search found, as JSON with a text for people.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quantizer/drop_forecast.h"
#include "quantizer/mixed_front.h"
#include "quantizer/precision_mix.h"

namespace hai::quantizer {

// A vertex of the front and what was measured of it.
struct FrontPoint {
  Mixture mixture;
  std::optional<DropForecast> spliced;   // from layers rounded for other mixtures
  std::optional<DropForecast> verified;  // quantized as it is, on samples that took no part

  const std::optional<DropForecast>& measured() const { return verified ? verified : spliced; }
};

struct MixedFacts {
  double max_drop = 0;
  bool reached = false;
  bool classes = false;
  size_t samples = 0;
  int views = 1;
  std::vector<MixableLayer> layers;
  std::vector<std::vector<PrecisionChoice>> choices;  // by layer
  std::vector<FrontPoint> front;
  size_t chosen = 0;  // precondition of the report: measured
};

// Points of a damage that was not measured: a line through everything measured, both in logarithms.
struct DropMapping {
  struct Line {
    double offset = 0;
    double slope = 1;
    double at(double damage) const;
  };
  Line points, low, high;
};
DropMapping map_damage(const std::vector<FrontPoint>& front);

double average_weight_bits(const MixedFacts& facts, const Mixture& mixture);

std::string mixed_json(const MixedFacts& facts);

}  // namespace hai::quantizer

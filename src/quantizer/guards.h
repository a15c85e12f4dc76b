// Guards: what is wrong, or looks wrong, with a model or its calibration samples, by name, with the layer and the
// remedy.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/calibrate.h"
#include "quantizer/plan.h"
#include "quantizer/ranges.h"

namespace hai::quantizer {

// `id` never changes its meaning: few_samples, out_of_domain, dead_channels, zero_weights, saturating_range,
// range_outliers, never_reached, constant_input, coarse_input, pruning, large_results, nothing_quantized, self_check.
struct Warning {
  std::string id;
  std::string layer;  // tensor or node; empty: the whole model
  std::string message;
  std::string remedy;
};
// "few_samples: message; remedy".
std::string to_string(const Warning& warning);

// An error that names the first constant with a NaN or an infinity that a node reads as weights.
Status check_weights(const ir::Graph& graph);

// What a model's own batch norms say of the tensors behind them: by value name of the canonical graph, mean and
// standard deviation a channel (the offset and the magnitude of the scale).
struct NormStatistics {
  std::string value;
  std::vector<float> means;
  std::vector<float> deviations;
};
// Of the graph as it was imported, before its batch norms are folded.
std::vector<NormStatistics> norm_statistics(const ir::Graph& graph);
// The few that calibration should watch, spread over the canonical graph, as (value, index into `statistics`).
std::vector<std::pair<ir::ValueId, size_t>> watched_norms(const ir::Graph& graph,
                                                          const std::vector<NormStatistics>& statistics);

struct GuardInput {
  const ir::Graph& graph;
  const Plan& plan;
  const Ranges& ranges;
  const Observations& observations;
  const std::vector<NormStatistics>& norms;
  const std::vector<std::pair<ir::ValueId, size_t>>& watched_norms;
  int64_t sample_count;
};
std::vector<Warning> find_warnings(const GuardInput& input);

}  // namespace hai::quantizer

// Rewrite: the float graph, a plan and what calibration saw become the quantized graph.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/calibrate.h"
#include "quantizer/plan.h"
#include "quantizer/ranges.h"
#include "quantizer/weights.h"

namespace hai::quantizer {

struct WeightRecord {
  std::string node;
  std::string op;
  Precision precision;
  double sqnr_db = 0;         // of the weights: signal over rounding noise
  int64_t zero_channels = 0;  // output channels without a weight that is not zero
  bool float_result = false;
};

struct Rewritten {
  ir::Graph graph;
  std::vector<WeightRecord> weights;
  std::vector<ir::NodeId> nodes;  // by node slot of the float graph: what became of it
};

// `given`: weights that are rounded already, of layers that the plan makes integer.
Result<Rewritten> rewrite(const ir::Graph& graph, const Plan& plan, const Ranges& ranges,
                          const Observations& observations, const GivenWeights& given, const QuantizeOptions& options);

}  // namespace hai::quantizer

// Rewrite: the float graph, a plan and what calibration saw become the quantized graph.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/calibrate.h"
#include "quantizer/plan.h"
#include "quantizer/ranges.h"
#include "quantizer/weights.h"
#include "quantizer/winograd_taps.h"

namespace hai::quantizer {

struct WeightRecord {
  std::string node;
  std::string op;
  Precision precision;
  double sqnr_db = 0;         // of the weights: signal over rounding noise
  int64_t zero_channels = 0;  // output channels without a weight that is not zero
  bool float_result = false;
  int tile = 0;  // of winograd_conv2d; 0: direct
};

// A layer as winograd_conv2d: taps, and of integers the real bias (corrected for what rounding the taps does).
struct WinogradLayer {
  WinogradTaps taps;
  std::vector<float> bias;
};
using WinogradLayers = std::map<ir::NodeId, WinogradLayer>;  // by node of the float graph

struct Rewritten {
  ir::Graph graph;
  std::vector<WeightRecord> weights;
  std::vector<ir::NodeId> nodes;  // by node slot of the float graph: what became of it
};

// A constant of f16, from its bits.
ir::ValueId add_halves(ir::Graph& graph, std::string name, const Dims& dims, std::span<const uint16_t> halves);

// `given`: weights that are rounded already, of layers that the plan makes integer. `winograd`: layers that become
// winograd_conv2d.
Result<Rewritten> rewrite(const ir::Graph& graph, const Plan& plan, const Ranges& ranges,
                          const Observations& observations, const GivenWeights& given, const QuantizeOptions& options,
                          const WinogradLayers& winograd = {});

}  // namespace hai::quantizer

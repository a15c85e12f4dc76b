// Range outliers: layers whose input is too coarse in 8 bits, because a few large values set its scale.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quantizer/calibrate.h"
#include "quantizer/guards.h"
#include "quantizer/plan.h"
#include "quantizer/ranges.h"

namespace hai::quantizer {

struct InputNoise {
  ir::NodeId node = ir::kNone;
  double noise_db = 0;  // of the layer's results, from rounding its input alone; the mean over output channels
};

// Of every integer layer whose input's observer has channel magnitudes, in the order of the graph.
Result<std::vector<InputNoise>> input_noises(const ir::Graph& graph, const Plan& plan, const Ranges& ranges,
                                             const Observations& observations);

// The layers of 8-bit activations to compute with 16.
struct Widening {
  std::vector<ir::NodeId> layers;
  std::vector<InputNoise> left;  // above the limit too, but too large a part of the model
};

// Those that 8 bits ruin; then others above the limit, worst first, and the last layers of a detect head, as long as
// all together are a small part of the model's multiply-accumulates.
Widening layers_to_widen(const ir::Graph& graph, const Plan& plan, const std::vector<InputNoise>& noises);

Warning to_warning(const ir::Graph& graph, const InputNoise& left);

}  // namespace hai::quantizer

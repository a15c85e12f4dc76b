// Calibration: runs a float graph over samples on the CPU device and feeds observers.
#pragma once

#include <map>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/observer.h"
#include "quantizer/quantizer.h"

namespace hai::quantizer {

// Observers of the wanted values, by value id; an entry of `channels` > 0 also gets the means of its last axis.
using Observations = std::map<ir::ValueId, RangeObserver>;

struct Calibrated {
  int64_t sample_count = 0;
  std::vector<std::vector<ops::Tensor>> held_back_outputs;  // the graph's own outputs, by sample held back
};

// Fills `observations` (made by the caller, one a wanted value) over all samples. Those of `held_back` are run too, but
// no observer sees them.
Result<Calibrated> calibrate(const ir::Graph& graph, const NextSample& next, const NextSample& held_back, int threads,
                             Observations& observations);

}  // namespace hai::quantizer

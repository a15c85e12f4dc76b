// Calibration: runs a float graph over samples on the CPU device and feeds observers.
#pragma once

#include <map>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/observer.h"
#include "quantizer/quantizer.h"

namespace hai::quantizer {

// Observers of the wanted values, by value id; an entry of `channels` > 0 also gets the means of its last axis.
using Observations = std::map<ir::ValueId, RangeObserver>;

// Fills `observations` (made by the caller, one a wanted value) over all samples; returns how many there were.
Result<int64_t> calibrate(const ir::Graph& graph, const NextSample& next, int threads, Observations& observations);

}  // namespace hai::quantizer

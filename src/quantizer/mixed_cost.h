// What a layer costs at each precision: the small table that the mixed search minimises.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "quantizer/options.h"

namespace hai::quantizer {

// One row: the throughput of the NPU that the product describes (two cores of 64 units of 16 lanes) and what a weight
// takes on its way in. Cycles are modelled, not measured.
struct PrecisionCost {
  std::string_view name;  // of the precision: "w4a8", "w8a8", "w16a16", "float"
  double macs_per_cycle;
  double bytes_per_weight;
};

std::span<const PrecisionCost> precision_costs();

// Cycles of one layer: its multiply-accumulates and the fetch of its weights, one after the other. Separable by layer,
// and both parts fall with fewer bits or stay.
double layer_cycles(const Precision& precision, int64_t macs, int64_t weights);

}  // namespace hai::quantizer

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

// Cycles of a 3x3 convolution of stride 1 by winograd_conv2d in 8 bits. One core makes 16 input and 16 output channels
// of a 6x6 tile in 9 cycles (of a 4x4 tile in 4), which is also what each of its transforms takes; of f16 in four times
// as many. Channels fill blocks of 16. Taps are 36 (16) weights where the convolution has 9.
double winograd_cycles(int tile, int64_t rows, int64_t columns, int64_t inputs, int64_t outputs, bool half = false);

}  // namespace hai::quantizer

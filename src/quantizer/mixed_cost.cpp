// The cost table of the mixed search.
//
// Lanes of a MAC unit by precision: 16 for 8 x 8 bits and for 4-bit weights with 8-bit activations, 4 for 16 x 16 bits
// and f16 (accumulators at a quarter rate), which float layers use there; their weights stay f32 in the file. Two cores
// of 64 units make 2048, 512 a cycle at 1 GHz. Weights come from DDR at 25.6 GB/s with 85 % efficiency: 21.76 bytes a
// cycle. Overlap of the two is left out on purpose: with it, a layer bound by arithmetic would gain nothing from 4
// bits, and its bytes would still fill flash.
#include "quantizer/mixed_cost.h"

#include <array>

#include "base/checked.h"

namespace hai::quantizer {
namespace {

constexpr double kWeightBytesPerCycle = 21.76;
constexpr std::array<PrecisionCost, 4> kCosts = {{{"w4a8", 2048, 0.5},  //
                                                  {"w8a8", 2048, 1},    //
                                                  {"w16a16", 512, 2},   //
                                                  {"float", 512, 4}}};

}  // namespace

std::span<const PrecisionCost> precision_costs() { return kCosts; }

double layer_cycles(const Precision& precision, int64_t macs, int64_t weights) {
  const size_t row = precision.is_float ? 3 : precision.weight_bits == 4 ? 0 : precision.weight_bits == 8 ? 1 : 2;
  const PrecisionCost& cost = kCosts[row];
  return static_cast<double>(macs) / cost.macs_per_cycle +
         static_cast<double>(weights) * cost.bytes_per_weight / kWeightBytesPerCycle;
}

double winograd_cycles(int tile, int64_t rows, int64_t columns, int64_t inputs, int64_t outputs, bool half) {
  constexpr double kCores = 2;
  const int64_t tiles = ceil_div(rows, int64_t{tile}) * ceil_div(columns, int64_t{tile});
  const int64_t blocks = ceil_div(inputs, int64_t{16}) * ceil_div(outputs, int64_t{16});
  const int64_t taps = int64_t{tile + 2} * (tile + 2);
  const double block_cycles = (tile == 4 ? 9 : 4) * (half ? kCosts[1].macs_per_cycle / kCosts[2].macs_per_cycle : 1.0);
  const double weight_bytes = half ? 2 : 1;
  return static_cast<double>(tiles * blocks) * block_cycles / kCores +
         static_cast<double>(taps * inputs * outputs) * weight_bytes / kWeightBytesPerCycle;
}

}  // namespace hai::quantizer

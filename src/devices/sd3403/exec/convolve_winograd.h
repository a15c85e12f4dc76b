// What a transformed Convolve (Winograd) has besides weights and epilogue: its tap table, and what is known about the
// sums of its taps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/exec/processor_cache.h"
#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

// Of one command, by tap.
struct TapTable {
  std::vector<int32_t> input_shifts, sum_shifts;

  // Error N076: a shift beyond what commands.def allows.
  static Result<TapTable> make(const Convolve& command, const WeightCache& cache);
};

// Sums of weights by [tap][output channel], channels padded to a multiple of 16; over a chain of commands.
struct TapSums {
  int64_t stride = 0;
  std::vector<int64_t> reach;    // the largest magnitude of the tap's sum
  std::vector<int32_t> weights;  // sum of weights, modulo 2^32

  int64_t bytes() const { return static_cast<int64_t>(reach.size()) * 12; }
  static TapSums of(const Convolve& command, std::span<const int16_t> weights);
  // Error N087: a sum that might leave 31 bits.
  Status add(const TapSums& more);
  // Error N087: a channel's sum behind the transform, with its bias, might leave 53 bits.
  Status check(const Convolve& command, const TapTable& table, std::span<const int64_t> bias) const;
  // The largest magnitude of a channel's sum behind the transform.
  double largest_sum(const Convolve& command, const TapTable& table, int64_t channel) const;
};

}  // namespace hai::sd3403

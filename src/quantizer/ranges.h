// Ranges: what calibration saw becomes the scale and zero point of every plan group.
#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/calibrate.h"
#include "quantizer/options.h"
#include "quantizer/plan.h"
#include "types/quantization.h"

namespace hai::quantizer {

// By value slot, set for the representatives of plan groups; both widths, since layers of either may read a tensor.
struct Ranges {
  std::vector<std::optional<Quantization>> eight;
  std::vector<std::optional<Quantization>> sixteen;
  std::vector<bool> behind_function;  // chosen for what functions make of it: clipping may cost nothing

  // Precondition: the value belongs to a watched group.
  const Quantization& of(const Plan& plan, ir::ValueId value, int bits) const;
  // At the group's own width.
  const Quantization& of(const Plan& plan, ir::ValueId value) const { return of(plan, value, plan.bits_of(value)); }
};

// Chooses by the options' observer; a wide rounding point gets 16 steps for one of its 8-bit range. Then scales are
// raised, in the order of the graph, where a multiplier would leave [2^-40, 2^8]; tensors that were zero throughout get
// a scale like the others'.
Result<Ranges> choose_ranges(const ir::Graph& graph, const Plan& plan, const Observations& observations,
                             const QuantizeOptions& options);

}  // namespace hai::quantizer

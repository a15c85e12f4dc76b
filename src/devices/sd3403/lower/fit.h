// fit.h: which layers the machine's memories cannot take however they are cut.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/lower/layer.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

struct Misfit {
  LayerId layer = 0;
  Error error;
};

// All of the segment, in order; empty: schedule() and emit() will find a way. What spills is the same afterwards.
// Errors in it: N110 a layer of which not even one stripe fits the scratchpad with everything else in external memory,
// N120 its smallest piece of constants is larger than the weight cache, N121 its sums do not fit the accumulators where
// they must wait there.
std::vector<Misfit> misfits_of(Segment& segment, const Machine& machine);

// The layer's N110.
Error too_large_for_scratchpad(const Segment& segment, LayerId layer, const Machine& machine);

}  // namespace hai::sd3403

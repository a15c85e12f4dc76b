// branches.h: layers that need nothing of each other run side by side, one on each core.
#pragma once

#include "devices/sd3403/lower/layer.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

// Sets Layer::core of neighbours in the order of layers where both at a time, each on one core, are quicker than one
// after the other on both; `always`: wherever they are independent (for tests). How many pairs.
int64_t pair_branches(Segment& segment, const Machine& machine, bool always = false);

}  // namespace hai::sd3403

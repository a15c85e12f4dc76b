// What a group of layers costs, for the search: cycles of both cores and of external memory, overlapped where stripes
// overlap them.
#pragma once

#include "devices/sd3403/lower/stripes.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

double group_cycles(const Segment& segment, const std::vector<BufferUses>& uses, const Machine& machine,
                    const Group& group);

// Bytes that the group loads from and stores to external memory, constants apart.
int64_t moved_bytes(const Segment& segment, const Group& group);

}  // namespace hai::sd3403

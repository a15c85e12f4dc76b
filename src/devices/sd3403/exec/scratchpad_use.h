// How much of the scratchpad holds something that is still to be read, over the time of a program.
#pragma once

#include <span>
#include <vector>

#include "devices/sd3403/exec/timeline.h"

namespace hai::sd3403 {

struct ScratchpadUse {
  int64_t ticks = 0;
  int64_t bytes = 0;  // from then on
  bool operator==(const ScratchpadUse&) const = default;
};

// In steps of 1 KiB, where a step counts from the first byte that is written to it until the last that is read before
// it is written again. Ascending by time; no entry where nothing is used. Precondition: `timeline` is that of
// `commands`.
std::vector<ScratchpadUse> scratchpad_use(std::span<const Command> commands, const Timeline& timeline);
int64_t peak_bytes(std::span<const ScratchpadUse> use);

}  // namespace hai::sd3403

// passes.h: what a batch costs. Samples run one after the other, each a pass of the same program, and weights that a
// pass leaves in the cache are not loaded again.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/exec/timeline.h"

namespace hai::sd3403 {

// A pass that follows one of the same program.
struct LaterPass {
  std::vector<Command> commands;  // without the loads that it does not need
  std::vector<size_t> numbers;    // of these in the program
  int64_t resident_bytes = 0;     // that those would have expanded
};
LaterPass later_pass(std::span<const Command> commands);

// A batch of `samples`, 1 or more, the first of which has taken `first`. Nothing overlaps from pass to pass: a queue
// ends before the next pass begins. Errors: those of time_program().
struct BatchTime {
  LaterPass pass;  // the second and all after it; of one sample nothing
  Timeline later;  // of `pass`, likewise
  Timeline whole;  // of all passes together: layers are sums over them
};
Result<BatchTime> time_batch(std::span<const Command> commands, std::span<const std::byte> constants,
                             const Timeline& first, int64_t samples);

}  // namespace hai::sd3403

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
  int64_t resident_bytes = 0;     // that those would have expanded
};
LaterPass later_pass(std::span<const Command> commands);

// A batch of `samples`, 1 or more, the first of which has taken `first`. Nothing overlaps from pass to pass: a queue
// ends before the next pass begins. Errors: those of time_program().
struct BatchTime {
  int64_t samples = 1;
  int64_t resident_bytes = 0;
  double seconds = 0;
  double npu_and_ddr_joules = 0;

  double frames_a_second() const { return static_cast<double>(samples) / seconds; }
};
Result<BatchTime> time_batch(std::span<const Command> commands, std::span<const std::byte> constants,
                             const Timeline& first, int64_t samples);

}  // namespace hai::sd3403

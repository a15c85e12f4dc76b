// The governor: the slowest operating point that still makes a frame in time.
#pragma once

#include "devices/sd3403/exec/timing.h"

namespace hai::sd3403 {

// The timeline at the slowest of the machine's points that ends within `deadline_seconds`; its machine says which. The
// queues are simulated anew at each point, since external memory keeps its speed while cycles become longer.
// Errors: N085 none is fast enough, with how long the fastest takes; N086 the deadline is no time; those of
// time_program().
Result<Timeline> slowest_in_time(std::span<const Command> commands, std::span<const std::byte> constants,
                                 const Machine& machine, double deadline_seconds);

}  // namespace hai::sd3403

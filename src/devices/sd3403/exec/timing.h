// Timing: how long a program takes on a machine, by simulating its queues command by command.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/exec/run_order.h"
#include "devices/sd3403/exec/timeline.h"

namespace hai::sd3403 {

// `constants` is image 0: the lengths of streams are read from it. Same arguments, same timeline, on every host.
// Preconditions: check_machine() accepts the machine; fields are within their bounds (as decode() gives them).
// Errors name the command: N080 a deadlock, N081 signals that nobody takes, N082 no such core, N083 longer than time is
// counted, N062 a stream's entry.
Result<Timeline> time_program(std::span<const Command> commands, std::span<const std::byte> constants,
                              const Machine& machine);

// As far as a program with broken parts gets: commands alone, without layers and what they come to. What has begun and
// is never done lasts until the end. Errors: those of time_program() but N080 and N081.
Result<Timeline> time_until_stopped(std::span<const Command> commands, std::span<const std::byte> constants,
                                    const Machine& machine, const BrokenParts& broken);

// The machine stops at this time: what has not begun by then has not begun, what is not done ends there. Layers, which
// hold the whole program, are gone where that is before the end.
void stop_at(Timeline& timeline, int64_t ticks);

// When a program with broken parts comes to stand, and where.
struct Standstill {
  // Of RunOrder::stands, with the cycle since which the command holds its queue or its engine.
  struct Place {
    size_t command = 0;
    int64_t since_cycle = 0;
  };
  std::vector<std::optional<Place>> places;
  int64_t last_cycle = 0;  // nothing moves any more
};

// Errors: those of time_program() but N080 and N081.
Result<Standstill> time_standstill(std::span<const Command> commands, std::span<const std::byte> constants,
                                   const Machine& machine, const BrokenParts& broken);

}  // namespace hai::sd3403

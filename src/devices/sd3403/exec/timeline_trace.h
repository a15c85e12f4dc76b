// A timeline as trace events that chrome://tracing and Perfetto read: a row for each engine of each core, waits of the
// arithmetic units, and the scratchpad's use. Virtual time only, which every event says.
#pragma once

#include <span>
#include <string>

#include "devices/sd3403/exec/timeline.h"

namespace hai::sd3403 {

// A pass of a program, or passes that take the same time each, one after the other from `start_ticks`. Precondition:
// `timeline` is that of `commands`, of one pass.
struct TracedPasses {
  std::span<const Command> commands;
  const Timeline& timeline;
  int64_t start_ticks = 0;
  int64_t count = 1;
  // Of the commands in the program; empty: they are the program.
  std::span<const size_t> numbers = {};
};

// `layer_names` as for to_table(). `process` is the number of the process row, which no other trace shown beside this
// may have. Where there are several passes every event has the number of its own, from 0. Commands that a stopped
// machine never began have no events. Precondition: one machine for all, and at least one entry in `passes`.
std::string timeline_trace(std::span<const TracedPasses> passes, std::span<const std::string> layer_names,
                           int64_t process = 1);

}  // namespace hai::sd3403

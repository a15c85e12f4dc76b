// A timeline as trace events that chrome://tracing and Perfetto read: a row for each engine of each core, waits of the
// arithmetic units, and the scratchpad's use. Virtual time only, which every event says.
#pragma once

#include <span>
#include <string>

#include "devices/sd3403/exec/timeline.h"

namespace hai::sd3403 {

// `layer_names` as for to_table(). `process` is the number of the process row, which no other trace shown beside this
// may have. Precondition: `timeline` is that of `commands`.
std::string timeline_trace(std::span<const Command> commands, const Timeline& timeline,
                           std::span<const std::string> layer_names, int64_t process = 1);

}  // namespace hai::sd3403

// emit(): a scheduled segment as commands and the image of its constants.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/isa/command.h"
#include "devices/sd3403/lower/pieces.h"
#include "devices/sd3403/lower/schedule.h"

namespace hai::sd3403 {

struct EmitOptions {
  Split split = Split::kAuto;
};

inline constexpr int64_t kScratchImage = 1;  // what is spilled; 0 are the constants, then inputs and outputs

struct EmittedSegment {
  std::vector<Command> commands;     // with waits, signals and ends
  std::vector<std::byte> constants;  // image 0
  int64_t stream_bytes = 0;          // of the weights and tables in it, as stored
  int64_t expanded_bytes = 0;        // and in the weight cache
};

// Errors: N120, N121 as misfits_of() finds them.
Result<EmittedSegment> emit(const Segment& segment, const Schedule& schedule, const Machine& machine,
                            const EmitOptions& options);

}  // namespace hai::sd3403

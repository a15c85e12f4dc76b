// What a program cannot save of external memory: a lower bound to compare its traffic with.
#pragma once

#include <cstdint>
#include <span>

#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

// Bytes of images other than `scratch_image` that the commands read or write at all, each counted once: tensors, and
// the entries of streams of constants; the streams themselves, which commands know by their entries, are not in it.
// Every order of the same layers moves at least these; the scratch image holds what was spilled, which another schedule
// might keep. Precondition: as accesses_of (isa/access.h).
int64_t distinct_external_bytes(std::span<const Command> commands, int64_t scratch_image);

}  // namespace hai::sd3403

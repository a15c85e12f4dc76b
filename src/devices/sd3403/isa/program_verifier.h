// The program verifier: what must hold of a list of commands before anything runs it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

struct MemorySizes {
  std::vector<int64_t> image_bytes;  // in external memory: constants, scratch, inputs, outputs
  int64_t sram_bytes = 0;            // the scratchpad, shared by the cores
  int64_t cache_bytes = 0;           // weight cache of one core
  int64_t accumulator_bytes = 0;     // of one core
};

// Checks, in this order: each command by itself (bounds of every access that does not depend on data, types that go
// together), each queue (one end, at its end; sums that continue), and all queues together: a semaphore is waited for
// by one queue only, so that the order of events decides nothing, and a run without time gets every queue to its end.
// Errors name the command's number, the field, the value and the limit: N020 access out of bounds, N021 types, N022 end
// missing or not last, N023 sums that do not continue, N024 a semaphore with two waiting queues, N025 a deadlock, N026
// signals that nobody waits for, N027 misaligned, N028 no such image. What a table of the weight cache holds is not
// looked at: its positions are brought inside of their tile by whoever reads them.
Status verify_commands(std::span<const Command> commands, const MemorySizes& memory);

}  // namespace hai::sd3403

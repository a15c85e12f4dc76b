// Faults of the NPU, its memory and its DMA channels (fault_spec.h), for the sessions of the device.
#pragma once

#include "devices/cpu/exec/fault_injection.h"

namespace hai::sd3403 {

// Errors: N093, N091 the program has no such segment.
Result<std::shared_ptr<cpu::FaultInjection>> inject_faults(std::string_view faults, const format::Program& program);

}  // namespace hai::sd3403

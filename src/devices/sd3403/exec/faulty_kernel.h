// The kernel "npu" with faults: runs its program twice, as it is and with the faults, and says what became of each.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "devices/cpu/exec/exec_registry.h"
#include "devices/sd3403/exec/fault_report.h"
#include "devices/sd3403/exec/fault_spec.h"

namespace hai::sd3403 {

// What the kernels of a session tell it.
struct FaultState {
  std::vector<FaultOutcome> outcomes;  // by fault of the session
  std::optional<Error> stopped;        // the first fault that has stopped a segment in this run
};

struct NumberedFault {
  size_t number;  // in FaultState::outcomes
  FaultSpec spec;
};

// A flip of constants or commands is there when the program is loaded and in every sample; of an input before the first
// command of the first sample; of the scratch or an output once the last command that writes the byte is done, in the
// first sample. Semaphores and channels fail in the first sample. Errors: those of make_npu_kernel(), N088 no such bit,
// N092 no such transfer.
Result<std::unique_ptr<cpu::CpuKernel>> make_faulty_kernel(const cpu::KernelContext& context,
                                                           std::vector<NumberedFault> faults,
                                                           std::shared_ptr<FaultState> state);

}  // namespace hai::sd3403

// FaultInjection: faults of hardware that a simulated device shows on purpose, for work on safety.
//
// A device that can do so gives the runtime a maker (runtime/devices.h). One object belongs to one session: it makes
// the kernels of that session, and keeps what became of each fault in the last run. Kernels with faults may allocate
// while they run.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "devices/cpu/exec/exec_registry.h"
#include "format/program.h"

namespace hai::cpu {

class FaultInjection {
 public:
  virtual ~FaultInjection() = default;

  // The kernel of an instruction: with the faults that are meant for it, or what `make` makes.
  virtual Result<std::unique_ptr<CpuKernel>> make_kernel(const KernelContext& context, MakeKernel make) = 0;
  virtual void begin_run() = 0;
  // Asked after each kernel: the error of a fault that has stopped the device in this run.
  virtual Status status() const = 0;
  // What became of each fault in the last run: a JSON array of objects.
  virtual std::string report() const = 0;
};

// `faults`: specifications, separated by ';'.
using MakeFaultInjection = Result<std::shared_ptr<FaultInjection>> (*)(std::string_view faults,
                                                                       const format::Program& program);

}  // namespace hai::cpu

// Gives the runtime a registry of the CPU's kernels and the NPU's.
//
// The registry is made once, when the first model asks for it.
#include "devices/sd3403/simulator/install.h"

#include "devices/sd3403/exec/fault_injection.h"
#include "devices/sd3403/exec/npu_kernel.h"
#include "runtime/devices.h"

namespace hai::sd3403 {
namespace {

const cpu::ExecRegistry& kernels() {
  static const cpu::ExecRegistry kRegistry = [] {
    cpu::ExecRegistry registry;
    cpu::register_cpu_kernels(registry);
    register_exec(registry);
    return registry;
  }();
  return kRegistry;
}

}  // namespace

bool install_simulator() {
  runtime::add_device(
      {"sd3403", "an SD3403-class board, simulated: exact values, modelled time and energy", kernels, inject_faults});
  return true;
}

}  // namespace hai::sd3403

// The devices whose programs this process can run: the cpu, and what has been added to it.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/fault_injection.h"

namespace hai::runtime {

struct Device {
  std::string_view name;  // of programs; literals
  std::string_view description;
  const cpu::ExecRegistry& (*kernels)();
  cpu::MakeFaultInjection inject_faults = nullptr;  // null: a device that is what it is
};

// A device of this name is replaced. Thread-safe, as all of these.
void add_device(const Device& device);
// The cpu first, then in the order of their addition.
std::vector<Device> devices();
// R013: no such device here, with those there are.
Error unknown_device(std::string_view wanted);

}  // namespace hai::runtime

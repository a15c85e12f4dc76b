// Machine: the numbers of a machine of the SD3403 class (machine.def). The compiler plans by them, the simulator counts
// by them; a program carries those that it was compiled for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace hai::sd3403 {

struct Machine {
  std::string name = "sd3403";
#define HAI_MACHINE_VALUE(name, value, least, greatest, doc) double name = (value);
#include "devices/sd3403/machine/machine.def"
};

struct MachineValueInfo {
  std::string_view name;
  double Machine::* value;
  double least;
  double greatest;
  std::string_view doc;
};
std::span<const MachineValueInfo> machine_values();

// Error N040 names a value that is outside of its bounds, or no integer where it counts something.
Status check_machine(const Machine& machine);

}  // namespace hai::sd3403

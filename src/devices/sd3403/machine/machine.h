// Machine: the numbers of a machine of the SD3403 class (machine.def). The compiler plans by them, the simulator counts
// by them; a program carries those that it was compiled for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace hai::sd3403 {

// A clock that the machine can run at and the supply that it takes.
struct OperatingPoint {
  double clock_mhz = 0;
  double volts = 0;
  bool operator==(const OperatingPoint&) const = default;
};

struct Machine {
  std::string name = "sd3403";
#define HAI_MACHINE_VALUE(name, value, least, greatest, doc) double name = (value);
#include "devices/sd3403/machine/machine.def"
  // From the slowest up (assumed).
  std::vector<OperatingPoint> points = {{200, 0.55}, {400, 0.60}, {600, 0.65}, {800, 0.72}, {1000, 0.80}};
  bool operator==(const Machine&) const = default;
};

struct MachineValueInfo {
  std::string_view name;
  double Machine::* value;
  double least;
  double greatest;
  std::string_view doc;
};
std::span<const MachineValueInfo> machine_values();

// Errors: N040 names a value that is outside of its bounds, or no integer where it counts something; N041 values that
// contradict each other; N042 operating points.
Status check_machine(const Machine& machine);

// The machine at one of its operating points. Error N043: it has no such clock; names those it has.
Result<Machine> at_clock(const Machine& machine, double clock_mhz);

}  // namespace hai::sd3403

// The table of a machine's values, from machine.def.
//
// Everything is a double so that one table serves files, flags and messages; what counts something must be an integer,
// and check_machine() says so before anything computes with it.
#include "devices/sd3403/machine/machine.h"

#include <cmath>

namespace hai::sd3403 {
namespace {

constexpr MachineValueInfo kValues[] = {
#define HAI_MACHINE_VALUE(name, value, least, greatest, doc) {#name, &Machine::name, least, greatest, doc},
#include "devices/sd3403/machine/machine.def"
};

// Rates and shares may be fractions; everything else counts.
bool may_be_fraction(std::string_view name) {
  return name.starts_with("ddr_giga") || name.ends_with("_efficiency") || name == "clock_mhz";
}

}  // namespace

std::span<const MachineValueInfo> machine_values() { return kValues; }

Status check_machine(const Machine& machine) {
  for (const MachineValueInfo& info : kValues) {
    const double value = machine.*info.value;
    if (!(value >= info.least && value <= info.greatest)) {
      return make_error(StatusCode::kOutOfRange, "N040", "machine {}: {} is {}, outside of {} to {} ({})", machine.name,
                        info.name, value, info.least, info.greatest, info.doc);
    }
    if (!may_be_fraction(info.name) && value != std::floor(value)) {
      return make_error(StatusCode::kInvalidArgument, "N040", "machine {}: {} is {} and must be an integer ({})",
                        machine.name, info.name, value, info.doc);
    }
  }
  return {};
}

}  // namespace hai::sd3403

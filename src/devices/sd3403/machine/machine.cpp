// The table of machine.def, the check of a machine against it, and operating points.
//
// Values are doubles throughout, so that one table serves files, flags and messages; what counts something must be an
// integer, and check_machine() says so before anything computes with it.
#include "devices/sd3403/machine/machine.h"

#include <fmt/format.h>

#include <cmath>

namespace hai::sd3403 {
namespace {

constexpr MachineValueInfo kValues[] = {
#define HAI_MACHINE_VALUE(name, value, least, greatest, doc) {#name, &Machine::name, least, greatest, doc},
#include "devices/sd3403/machine/machine.def"
};

// Rates, shares, volts and energies may be fractions; everything else counts.
bool may_be_fraction(std::string_view name) {
  if (name.starts_with("host_") || name.starts_with("gpu_")) return true;
  for (const std::string_view unit : {"_gigabytes", "_efficiency", "_mhz", "_volts", "_picojoules", "_watts"}) {
    if (name.ends_with(unit)) return true;
  }
  return false;
}

// Values that cannot be together, though each is within its bounds.
Status check_pairs(const Machine& m) {
  struct Pair {
    std::string_view small_name;
    double small;
    std::string_view large_name;
    double large;
  };
  // Half of the accumulators holds a group of pixels, in sums of 8 bytes.
  const double group_bytes = 2 * 8 * m.array_output_channels * m.array_pixels;
  const Pair pairs[] = {
      {"ddr_short_burst_bytes", m.ddr_short_burst_bytes, "ddr_long_burst_bytes", m.ddr_long_burst_bytes},
      {"ddr_short_efficiency", m.ddr_short_efficiency, "ddr_long_efficiency", m.ddr_long_efficiency},
      {"sram_word_bytes", m.sram_word_bytes, "sram_read_bytes", m.sram_read_bytes},
      {"sram_word_bytes", m.sram_word_bytes, "sram_write_bytes", m.sram_write_bytes},
      {"16 * array_output_channels * array_pixels (two groups of sums)", group_bytes, "accumulator_bytes",
       m.accumulator_bytes},
  };
  for (const Pair& pair : pairs) {
    if (pair.small <= pair.large) continue;
    return make_error(StatusCode::kInvalidArgument, "N041", "machine {}: {} is {}, more than {}, which is {}", m.name,
                      pair.small_name, pair.small, pair.large_name, pair.large);
  }
  return {};
}

Status check_points(const Machine& m) {
  constexpr size_t kMostPoints = 64;
  if (m.points.size() > kMostPoints) {
    return make_error(StatusCode::kOutOfRange, "N042", "machine {}: {} operating points; at most {}", m.name,
                      m.points.size(), kMostPoints);
  }
  double above = 0;
  for (const OperatingPoint& point : m.points) {
    const bool sane = point.clock_mhz >= 1 && point.clock_mhz <= 10000 && point.volts >= 0.2 && point.volts <= 2;
    if (!sane || point.clock_mhz <= above) {
      return make_error(StatusCode::kOutOfRange, "N042",
                        "machine {}: operating point {} MHz at {} V: points go up from 1 to 10000 MHz, at 0.2 to 2 V",
                        m.name, point.clock_mhz, point.volts);
    }
    above = point.clock_mhz;
  }
  return {};
}

}  // namespace

std::span<const MachineValueInfo> machine_values() { return kValues; }

Status check_machine(const Machine& machine) {
  for (const MachineValueInfo& info : kValues) {
    const double value = machine.*info.value;
    if (!(value >= info.least && value <= info.greatest)) {
      return make_error(StatusCode::kOutOfRange, "N040", "machine {}: {} is {}; it must be from {} to {} ({})",
                        machine.name, info.name, value, info.least, info.greatest, info.doc);
    }
    if (!may_be_fraction(info.name) && value != std::floor(value)) {
      return make_error(StatusCode::kInvalidArgument, "N040", "machine {}: {} is {} and must be an integer ({})",
                        machine.name, info.name, value, info.doc);
    }
  }
  HAI_TRY_STATUS(check_pairs(machine));
  return check_points(machine);
}

Result<Machine> at_clock(const Machine& machine, double clock_mhz) {
  std::string known;
  for (const OperatingPoint& point : machine.points) {
    if (point.clock_mhz == clock_mhz) {
      Machine out = machine;
      out.clock_mhz = point.clock_mhz;
      out.clock_volts = point.volts;
      return out;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", point.clock_mhz);
  }
  return make_error(StatusCode::kInvalidArgument, "N043", "machine {} has no clock of {} MHz; it has {}", machine.name,
                    clock_mhz, known.empty() ? "no operating points" : known);
}

}  // namespace hai::sd3403

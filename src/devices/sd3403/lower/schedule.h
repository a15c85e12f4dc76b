// schedule(): in which groups and stripes the layers of a segment run, and where in the scratchpad its buffers lie.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/lower/stripes.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

// Of groups of several layers.
enum class HaloChoice : uint8_t {
  kAuto,  // what costs less: all kept, or some recomputed where keeping does not fit
  kKept,
  kRecomputed  // by every group in stripes
};

// By name: "auto", "kept", "recomputed". Errors: N111 there is no such.
Result<HaloChoice> parse_halo(std::string_view name);

struct ScheduleOptions {
  bool cascade = true;  // false: every layer on its own
  // For tests: every group that can has this many layers and stripes (0: by cost).
  int64_t force_layers = 0;
  int64_t force_stripes = 0;
  HaloChoice halo = HaloChoice::kAuto;
};

// A buffer's place while a group runs.
struct Home {
  int64_t address = -1;
  int64_t ring_rows = 0;  // 0: whole
};

struct Schedule {
  std::vector<Group> groups;
  std::vector<std::vector<Home>> homes;  // by group, then buffer; -1 where the group does not touch it
  std::vector<int64_t> scratch_offset;   // by buffer: in the scratch image, of spilled ones
  int64_t scratch_bytes = 0;
  int64_t sram_bytes = 0;              // peak
  int64_t sram_lower_bound_bytes = 0;  // the largest sum of what is alive at one time
  double cycles = 0;                   // by layer_cost.h
};

// Marks buffers as spilled where they do not fit. Errors: N110 where misfits_of() has one.
Result<Schedule> schedule(Segment& segment, const Machine& machine, const ScheduleOptions& options);

}  // namespace hai::sd3403

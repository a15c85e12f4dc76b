// schedule(): in which groups and stripes the layers of a segment run, and where in the scratchpad its buffers lie.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/lower/stripes.h"
#include "devices/sd3403/machine/machine.h"

namespace hai::sd3403 {

struct ScheduleOptions {
  bool cascade = true;  // false: every layer on its own
  // For tests: every group that can has this many layers and stripes (0: by cost).
  int64_t force_layers = 0;
  int64_t force_stripes = 0;
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
  int64_t sram_lower_bound_bytes = 0;  // the largest sum of what is alive in any group
};

// Marks buffers as spilled where they do not fit. Errors: N110 where misfits_of() has one.
Result<Schedule> schedule(Segment& segment, const Machine& machine, const ScheduleOptions& options);

}  // namespace hai::sd3403

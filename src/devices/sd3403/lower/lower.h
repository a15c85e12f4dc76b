// lower(): a graph becomes a program of the sd3403: instructions "npu" for its segments, the CPU's own for the rest.
//
// The CPU's instructions are those of devices/cpu/lower; an instruction "npu" has [commands, constants, inputs ...] and
// [outputs ...] (devices/sd3403/exec/npu_kernel.h), and as attributes the machine that it was compiled for
// ("machine", "machine.<value>") and its layers ("layer_names", "layer_ops", one a line, and "layer_macs").
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "devices/cpu/lower/lower.h"
#include "devices/sd3403/lower/emit.h"
#include "devices/sd3403/lower/partition.h"
#include "devices/sd3403/lower/schedule.h"
#include "devices/sd3403/machine/machine.h"
#include "format/program.h"
#include "ir/graph.h"

namespace hai::sd3403 {

struct LowerOptions {
  Machine machine;
  PartitionOptions partition;
  ScheduleOptions schedule;
  EmitOptions emit;
};

// What became of a segment, for reports.
struct SegmentReport {
  std::string name;
  int64_t layers = 0, groups = 0, stripes = 0;
  int64_t recomputed_groups = 0;  // of those, with a recomputed halo
  int64_t commands = 0;
  int64_t constant_bytes = 0;
  int64_t stream_bytes = 0, expanded_bytes = 0;  // of weights and tables: as stored, and once in the weight cache
  int64_t sram_bytes = 0, sram_lower_bound_bytes = 0;
  // What no schedule can save of external memory: inputs and constants read once, as they are coded, outputs written
  // once.
  int64_t external_lower_bound_bytes = 0;
  std::vector<std::string> spilled;  // tensors that wait in external memory
};

struct Lowered {
  format::Program program;
  std::vector<Placement> placements;  // node ids of the graph that was given
  std::vector<SegmentReport> segments;
};

// Layers that the machine's memories cannot take however they are cut run on the CPU (lower/fit.h). Precondition: as
// cpu::lower. Errors: its own, C201 for a node that neither device takes, N130 where a program does not pass its
// verifier (a bug of the compiler).
Result<Lowered> lower(const ir::Graph& graph, const cpu::AddWeights& add_weights, const LowerOptions& options = {});

}  // namespace hai::sd3403

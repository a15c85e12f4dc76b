// partition(): which nodes of a graph run on the NPU, and in which segments.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::sd3403 {

struct Placement {
  ir::NodeId node = ir::kNone;
  bool on_npu = false;
  std::string reason;        // why not; empty on the NPU
  bool too_large = false;    // that is why
  bool fixed_batch = false;  // that is why: its samples are not single ones
};

struct Partition {
  std::vector<Placement> placements;              // of all nodes, in order
  std::vector<std::vector<ir::NodeId>> segments;  // of the NPU, in order; each can run in one piece
};

struct PartitionOptions {
  // Of a segment that is worth handing over: about what a CPU core computes while 20 us of that pass. 0, for tests: all
  // that the NPU takes runs there.
  int64_t least_macs = 20000;
};

// By the legality of each operator's lowering, then by cost: a segment whose data takes longer to hand over than the
// CPU takes to compute it stays on the CPU.
// `too_large` go to the CPU for the reason beside them.
Result<Partition> partition(const ir::Graph& graph, const PartitionOptions& options = {},
                            const std::map<ir::NodeId, std::string>& too_large = {});

}  // namespace hai::sd3403

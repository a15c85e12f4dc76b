// An estimate, not the simulator: it counts what the simulator counts for a command, and guesses how engines overlap.
//
// Method: compute cycles are those of the slower core for each layer and stripe; constants are loaded once, or once a
// stripe when all of the group's do not fit the weight cache; moving hides behind computing but for the first stripe in
// and the last one out.
#include "devices/sd3403/lower/layer_cost.h"

#include <algorithm>
#include <array>

#include "base/checked.h"
#include "devices/sd3403/lower/pieces.h"

namespace hai::sd3403 {

int64_t moved_bytes(const Segment& segment, const Group& group) {
  int64_t bytes = 0;
  for (const GroupBuffer& own : group.buffers) {
    if (own.keep != Keep::kInside) bytes += segment.buffers[own.buffer].bytes();
  }
  return bytes;
}

double group_cycles(const Segment& segment, const std::vector<BufferUses>&, const Machine& machine,
                    const Group& group) {
  const double rate = machine.ddr_gigabytes * 1000 * machine.ddr_long_efficiency / machine.clock_mhz;
  const double overhead = machine.issue_cycles + 2 * machine.semaphore_cycles;
  std::array<double, 2> on_core{};
  double constants = 0;
  int64_t most_on_a_core = 0;
  for (LayerId l = group.begin; l < group.end; ++l) {
    const Layer& layer = segment.layers[l];
    const std::vector<Share> shares = shares_of(layer, machine, Split::kAuto);
    int64_t on_a_core = 0;
    for (const Share& share : shares) {
      const Range depth{0, layer.constants.depth};
      const int64_t bytes = constant_bytes(layer, share.channels, depth, layer.writes.rows);
      constants += static_cast<double>(loaded_constant_bytes(layer, share.channels));
      on_a_core = std::max(on_a_core, bytes);
    }
    most_on_a_core += on_a_core;
    const Share& first = shares[0];
    for (int64_t s = 0; s < group.stripes; ++s) {
      const int64_t rows = group.last_row(l, s) - group.first_row(l, s);
      if (rows == 0) continue;
      const int64_t own = first.halves_rows ? first_half(layer, rows) : rows;
      const double cycles = static_cast<double>(layer_cycles(layer, machine, own, first.channels.count)) + overhead;
      for (size_t core = 0; core < on_core.size(); ++core) {
        if (!layer.core || static_cast<size_t>(*layer.core) == core) on_core[core] += cycles;
      }
    }
  }
  if (group.stripes > 1 && most_on_a_core > static_cast<int64_t>(machine.weight_cache_bytes))
    constants *= static_cast<double>(group.stripes);
  const double compute = std::max(on_core[0], on_core[1]);
  const double moved = static_cast<double>(moved_bytes(segment, group)) / rate;
  const double weights = constants / rate;
  const auto stripes = static_cast<double>(group.stripes);
  return std::max(compute, moved + weights) + std::min(compute, moved) / stripes +
         (moved > 0 ? machine.dma_latency_cycles : 0.0);
}

}  // namespace hai::sd3403

// An estimate, not the simulator: it counts what the simulator counts for a command, and guesses how engines overlap.
//
// Method: compute cycles are those of the slower core for each layer and stripe; constants are loaded once, or once a
// stripe when all of the group's do not fit the weight cache; moving hides behind computing but for the first stripe in
// and the last one out. Cycles of a layer are kept by rows, since a search asks for the same ones again and again.
#include "devices/sd3403/lower/layer_cost.h"

#include <algorithm>
#include <optional>

#include "base/checked.h"

namespace hai::sd3403 {
namespace {

int64_t moved_bytes(const Segment& segment, const Group& group) {
  int64_t bytes = 0;
  for (const GroupBuffer& own : group.buffers) {
    if (own.keep != Keep::kInside) bytes += segment.buffers[own.buffer].bytes();
  }
  return bytes;
}

}  // namespace

LayerCosts::LayerCosts(const Segment& segment, const Machine& machine)
    : segment_(segment),
      machine_(machine),
      rate_(machine.ddr_gigabytes * 1000 * machine.ddr_long_efficiency / machine.clock_mhz),
      overhead_(machine.issue_cycles + 2 * machine.semaphore_cycles) {
  constants_before_.push_back(0);
  for (auto& before : compute_before_) before.push_back(0);
  for (LayerId l = 0; l < segment.layers.size(); ++l) {
    const Layer& layer = segment.layers[l];
    const int64_t large_table = is_small_table(layer, machine) ? 0 : table_bytes(layer);
    const std::vector<Share> shares = shares_of(layer, machine, Split::kAuto);
    Entry entry{shares[0], 0, 0, std::vector<int64_t>(static_cast<size_t>(layer.writes.rows) + 1, -1)};
    for (const Share& share : shares) {
      const Range depth{0, layer.constants.depth};
      const int64_t bytes = constant_bytes(layer, share.channels, depth, layer.writes.rows);
      entry.constants += static_cast<double>(loaded_constant_bytes(layer, share.channels));
      entry.cache_bytes = std::max(entry.cache_bytes, bytes + large_table);
    }
    entries_.push_back(std::move(entry));
    constants_before_.push_back(constants_before_.back() + entries_.back().constants);
    const double compute = static_cast<double>(cycles_of_rows(l, layer.writes.rows)) + overhead_;
    for (size_t core = 0; core < compute_before_.size(); ++core) {
      auto& before = compute_before_[core];
      before.push_back(before.back() + (runs_on(l, core) ? compute : 0.0));
    }
  }
}

bool LayerCosts::runs_on(LayerId layer, size_t core) const {
  const std::optional<int64_t>& only = segment_.layers[layer].core;
  return !only || static_cast<size_t>(*only) == core;
}

int64_t LayerCosts::cycles_of_rows(LayerId layer, int64_t rows) {
  Entry& entry = entries_[layer];
  int64_t& cycles = entry.cycles[static_cast<size_t>(rows)];
  if (cycles < 0) {
    const Layer& at = segment_.layers[layer];
    cycles =
        layer_cycles(at, machine_, entry.share.halves_rows ? first_half(at, rows) : rows, entry.share.channels.count);
  }
  return cycles;
}

double LayerCosts::least_cycles(LayerId begin, LayerId end) const {
  const auto sum = [&](const std::vector<double>& before) { return before[end] - before[begin]; };
  return std::max({sum(compute_before_[0]), sum(compute_before_[1]), sum(constants_before_) / rate_});
}

bool LayerCosts::loads_again(const Group& group) const {
  if (group.stripes == 1) return false;
  int64_t bytes = 0;
  for (LayerId l = group.begin; l < group.end; ++l) bytes += entries_[l].cache_bytes;
  return bytes > static_cast<int64_t>(machine_.weight_cache_bytes) - table_room(machine_);
}

double LayerCosts::group_cycles(const Group& group) {
  std::array<double, 2> on_core{};
  double constants = constants_before_[group.end] - constants_before_[group.begin];
  for (LayerId l = group.begin; l < group.end; ++l) {
    for (int64_t s = 0; s < group.stripes; ++s) {
      const int64_t rows = group.last_row(l, s) - group.first_row(l, s);
      if (rows == 0) continue;
      const double cycles = static_cast<double>(cycles_of_rows(l, rows)) + overhead_;
      for (size_t core = 0; core < on_core.size(); ++core) {
        if (runs_on(l, core)) on_core[core] += cycles;
      }
    }
  }
  if (loads_again(group)) constants *= static_cast<double>(group.stripes);
  const double compute = std::max(on_core[0], on_core[1]);
  const double moved = static_cast<double>(moved_bytes(segment_, group)) / rate_;
  const double weights = constants / rate_;
  const auto stripes = static_cast<double>(group.stripes);
  return std::max(compute, moved + weights) + std::min(compute, moved) / stripes +
         (moved > 0 ? machine_.dma_latency_cycles : 0.0);
}

}  // namespace hai::sd3403

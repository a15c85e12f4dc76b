// Pairs by the cost of both ways: cycles of the array and of external memory for the weights, whichever is more.
//
// Splitting a layer over the cores wastes lanes where it has few rows or channels, and by rows it loads the weights
// twice. Only neighbours are looked at: the order is the graph's, in which branches that begin at one tensor often
// follow each other, and commands of other layers between the two would wait in the same queues. A pair is greedy, the
// first that gains.
#include "devices/sd3403/lower/branches.h"

#include <algorithm>

#include "devices/sd3403/cost/command_cycles.h"
#include "devices/sd3403/lower/pieces.h"

namespace hai::sd3403 {
namespace {

constexpr double kWorth = 0.95;  // of the time that both take one after the other

bool reads(const Layer& layer, BufferId buffer) {
  return std::any_of(layer.reads.begin(), layer.reads.end(),
                     [buffer](const Operand& operand) { return operand.slice.buffer == buffer; });
}

// Parts of one buffer (a concatenation) are independent where neither reads it.
bool are_independent(const Layer& a, const Layer& b) {
  return !reads(b, a.writes.buffer) && !reads(a, b.writes.buffer);
}

struct Cost {
  double cycles = 0;  // of the slower core
  double bytes = 0;   // of constants, over all cores
};

Cost cost_of(const Layer& layer, const Machine& machine, const std::vector<Share>& shares) {
  Cost cost;
  for (const Share& share : shares) {
    const int64_t rows = share.halves_rows ? (layer.writes.rows + 1) / 2 : layer.writes.rows;
    cost.cycles = std::max(cost.cycles, static_cast<double>(layer_cycles(layer, machine, rows, share.channels.count)));
    cost.bytes += static_cast<double>(loaded_constant_bytes(layer, share.channels));
  }
  return cost;
}

bool gains(const Layer& a, const Layer& b, const Machine& machine) {
  const double rate = std::max(1.0, ddr_bytes_a_cycle(machine));
  const auto time = [&](double cycles, double bytes) { return std::max(cycles, bytes / rate); };
  const Cost split_a = cost_of(a, machine, shares_of(a, machine, Split::kAuto));
  const Cost split_b = cost_of(b, machine, shares_of(b, machine, Split::kAuto));
  const Cost one_a = cost_of(a, machine, shares_of(a, machine, Split::kOneCore));
  const Cost one_b = cost_of(b, machine, shares_of(b, machine, Split::kOneCore));
  const double apart = time(split_a.cycles, split_a.bytes) + time(split_b.cycles, split_b.bytes);
  const double together = time(std::max(one_a.cycles, one_b.cycles), one_a.bytes + one_b.bytes);
  // A core that has all channels of a layer may have to load its weights again for each stripe.
  const double room = static_cast<double>(machine.weight_cache_bytes) / 2;
  return std::max(one_a.bytes, one_b.bytes) <= room && together < kWorth * apart;
}

}  // namespace

int64_t pair_branches(Segment& segment, const Machine& machine, bool always) {
  if (machine.cores < 2) return 0;
  int64_t pairs = 0;
  for (LayerId l = 0; l + 1 < segment.layers.size(); ++l) {
    Layer& a = segment.layers[l];
    Layer& b = segment.layers[l + 1];
    if (!are_independent(a, b) || !(always || gains(a, b, machine))) continue;
    a.core = 0;
    b.core = 1;
    ++pairs;
    ++l;
  }
  return pairs;
}

}  // namespace hai::sd3403

// Groups by dynamic programming over the order of the layers, then addresses.
//
// Method: cost(j) = min over i of cost(i) + cost of layers [i, j) as one group in the best number of stripes. A group
// is possible when its own buffers (rings, staging) and the buffers that other groups keep alive across it fit. Groups
// of several layers are tried only where a layer alone does not fit or would wait for external memory. Where no order
// is possible, the largest buffer alive at the place that stopped it is spilled, and the search starts again. Addresses
// are planned over groups as time, and over the layers of a group whose buffers come and go in a stripe
// (passes/plan_memory.h); if they come out higher than the scratchpad because of gaps, the search runs again with less
// room.
//
// Spilling as little as possible is not always quickest: a group that must not be cut for it may load its constants for
// each of many stripes. Where the first search spills or finds such a group, others begin with the tensors above a half
// or a quarter of the scratchpad spilled, or with all (one that a group makes and reads itself stays inside it), and
// the least cost wins. A recomputed halo costs cycles and saves room, so a group has one only where it does not fit
// with a kept one, and such groups are tried last, and only there.
#include "devices/sd3403/lower/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "base/checked.h"
#include "devices/sd3403/lower/fit.h"
#include "devices/sd3403/lower/layer_cost.h"
#include "passes/plan_memory.h"

namespace hai::sd3403 {
namespace {

constexpr LayerId kMostLayers = 32;  // of a group
constexpr double kRoomSteps = 0.95;
constexpr int kMostTries = 12;

struct Life {
  LayerId first = 0, last = 0;
  int64_t bytes = 0;
  bool resident = false;  // may be needed by another group than the one that makes it
};

class Search {
 public:
  Search(const Segment& segment, LayerCosts& costs, const Machine& machine, const ScheduleOptions& options,
         int64_t room)
      : segment_(segment), costs_(costs), machine_(machine), options_(options), room_(room), uses_(uses_of(segment)) {
    for (BufferId b = 0; b < segment.buffers.size(); ++b) {
      Life life;
      const Buffer& buffer = segment.buffers[b];
      const auto& [producers, readers] = uses_[b];
      life.resident = !buffer.is_given() && !buffer.spilled && !producers.empty();
      if (!producers.empty()) {
        life.first = producers.front();
        life.last = std::max(producers.back(), readers.empty() ? 0 : readers.back());
      }
      life.bytes = align_up(buffer.bytes(), 64);
      lives_.push_back(life);
    }
    quiet_.resize(segment.layers.size());
    last_.resize(segment.layers.size() + 1);
    least_.assign(segment.layers.size() + 1, kNever);
    least_[0] = 0;
  }

  // The groups, or nothing and `stuck_at`.
  std::vector<Group> run() {
    const auto count = static_cast<LayerId>(segment_.layers.size());
    for (LayerId begin = 0; begin < count; ++begin) {
      if (least_[begin] == kNever) continue;
      const LayerId most = std::min(count, begin + (options_.cascade ? kMostLayers : 1));
      bool quiet = true;  // no layer so far would gain from stripes
      for (LayerId end = begin + 1; end <= most; ++end) {
        quiet = quiet && is_quiet(end - 1);
        if (end <= known_ || (end - begin > 1 && quiet && options_.force_layers == 0)) continue;
        if (options_.force_layers != 0 && end - begin > options_.force_layers) break;
        try_group(begin, end);
      }
    }
    known_ = count;
    std::vector<Group> groups;
    if (least_[count] == kNever) return groups;
    for (LayerId at = count; at > 0; at = groups.back().begin) groups.push_back(last_[at]);
    std::reverse(groups.begin(), groups.end());
    return groups;
  }

  LayerId stuck_at() const {
    LayerId last = 0;
    for (LayerId l = 0; l < least_.size(); ++l) {
      if (least_[l] != kNever) last = l;
    }
    return last;
  }
  double cycles() const { return least_.back(); }

  // The buffer is spilled from here on: groups that end before it is made are what they were.
  void forget(BufferId spilled) {
    lives_[spilled].resident = false;
    known_ = std::min(known_, lives_[spilled].first);
    for (LayerId l = known_; l < quiet_.size(); ++l) quiet_[l].reset();
    std::fill(least_.begin() + known_ + 1, least_.end(), kNever);
  }

  // The largest buffer that another group would keep across `layer`, or else the largest that it touches.
  std::optional<BufferId> largest_alive(LayerId layer) const {
    return largest_of([layer](const Life& life) { return life.first <= layer && life.last >= layer; });
  }
  std::optional<BufferId> largest() const {
    return largest_of([](const Life&) { return true; });
  }

 private:
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  template <typename Counts>
  std::optional<BufferId> largest_of(Counts counts) const {
    std::optional<BufferId> best;
    for (BufferId b = 0; b < lives_.size(); ++b) {
      const Life& life = lives_[b];
      if (!life.resident || segment_.buffers[b].spilled || !counts(life)) continue;
      // One layer's result that nobody reads is stored as it is made anyway.
      if (uses_[b].readers.empty() && uses_[b].producers.size() == 1) continue;
      if (!best || life.bytes > lives_[*best].bytes) best = b;
    }
    return best;
  }

  bool is_quiet(LayerId layer) {
    std::optional<bool>& quiet = quiet_[layer];
    if (!quiet) {
      const std::optional<Group> group = make_group(segment_, uses_, layer, layer + 1, 1);
      quiet = group->own_bytes + alive_across(*group) <= room_ &&
              std::all_of(group->buffers.begin(), group->buffers.end(),
                          [](const GroupBuffer& own) { return own.keep == Keep::kInside; });
    }
    return *quiet;
  }

  int64_t alive_across(const Group& group) const {
    int64_t bytes = 0;
    for (BufferId b = 0; b < lives_.size(); ++b) {
      const Life& life = lives_[b];
      if (!life.resident || life.first >= group.end || life.last < group.begin) continue;
      const bool own = std::any_of(group.buffers.begin(), group.buffers.end(),
                                   [b](const GroupBuffer& entry) { return entry.buffer == b; });
      if (!own) bytes += life.bytes;
    }
    return bytes;
  }

  // Bytes for the group's own buffers. A layer with nothing beside it has no gaps, so that less room than there is
  // makes no difference to it.
  int64_t room_for(const Group& group) const {
    const int64_t across = alive_across(group);
    const bool alone = group.end - group.begin == 1 && across == 0 && group.resident.empty();
    return (alone ? static_cast<int64_t>(machine_.sram_bytes) : room_) - across;
  }

  // Whether the group fits, with the halo that it then has.
  bool choose_halo(Group& group, int64_t room) const {
    size_buffers(segment_, uses_, group);
    const bool fits = group.own_bytes <= room;
    const bool one_form = group.end - group.begin == 1 || group.stripes == 1;
    if (options_.halo == HaloChoice::kKept || one_form) return fits;
    if (options_.halo == HaloChoice::kAuto && fits) return true;
    group = with_recomputed_halo(segment_, uses_, group);
    return group.own_bytes <= room;
  }

  void try_group(LayerId begin, LayerId end) {
    const bool is_forced = options_.force_stripes != 0;
    if (!is_forced && least_[begin] + costs_.least_cycles(begin, end) >= least_[end]) return;
    const Group opened = open_group(segment_, uses_, begin, end);
    const int64_t room = room_for(opened);
    if (room < 0) return;
    std::vector<int64_t> forms(std::begin(kStripes), std::end(kStripes));
    if (is_forced && end - begin > 1) forms = {options_.force_stripes};
    if (is_forced && end - begin == 1) forms.insert(forms.begin() + 1, options_.force_stripes);
    for (const int64_t stripes : forms) {
      if (stripes == 1 && end - begin > 1) continue;  // the same as its layers alone
      Group group = opened;
      if (!cut_into_stripes(segment_, uses_, group, stripes)) continue;
      // A forced form is taken wherever it is possible, of as many layers as may be: all of them together cost less
      // than one cycle.
      const bool is_wanted = is_forced && stripes == options_.force_stripes && stripes != 1;
      const auto cost_of = [&] {
        return least_[begin] +
               (is_wanted ? 1e-6 * static_cast<double>(kMostLayers + 1 - (end - begin)) : costs_.group_cycles(group));
      };
      if (cost_of() >= least_[end] || !choose_halo(group, room)) continue;  // a recomputed halo costs no less
      const double cost = cost_of();
      if (cost >= least_[end]) continue;
      least_[end] = cost;
      last_[end] = std::move(group);
    }
  }

  const Segment& segment_;
  LayerCosts& costs_;
  const Machine& machine_;
  const ScheduleOptions& options_;
  int64_t room_;
  std::vector<BufferUses> uses_;
  std::vector<Life> lives_;
  std::vector<std::optional<bool>> quiet_;  // by layer, as far as asked
  LayerId known_ = 0;                       // ends of groups up to here are looked at
  std::vector<double> least_;               // cycles of all layers before this one
  std::vector<Group> last_;                 // and the group that ends there
};

// Addresses for all groups.
Result<Schedule> place(const Segment& segment, const std::vector<BufferUses>& uses, std::vector<Group> groups) {
  Schedule out;
  out.groups = std::move(groups);
  out.homes.assign(out.groups.size(), std::vector<Home>(segment.buffers.size()));
  std::vector<passes::MemoryBuffer> memory;
  struct Owner {
    BufferId buffer;
    size_t first, last;  // groups
    int64_t ring_rows;
  };
  constexpr size_t kNone = std::numeric_limits<size_t>::max();
  std::vector<Owner> owners;
  std::vector<Owner> residents;
  for (BufferId b = 0; b < segment.buffers.size(); ++b) residents.push_back({b, kNone, 0, 0});
  std::vector<int64_t> begins;  // of each group: a step, or one for each layer
  int64_t step = 0;
  for (size_t g = 0; g < out.groups.size(); ++g) {
    const Group& group = out.groups[g];
    const bool by_layers = group.halo == Halo::kRecomputed;
    begins.push_back(step);
    for (const GroupBuffer& own : group.buffers) {
      const Span span = by_layers ? span_of(uses[own.buffer], group, own) : Span{group.begin, group.begin};
      owners.push_back({own.buffer, g, g, own.ring_rows});
      memory.push_back(
          {own.bytes, step + span.first - group.begin, step + span.last - group.begin, passes::MemoryRegion::kFixed});
    }
    for (const BufferId b : group.resident) {
      residents[b].first = std::min(residents[b].first, g);
      residents[b].last = g;
    }
    step += by_layers ? group.end - group.begin : 1;
  }
  begins.push_back(step);
  for (const Owner& resident : residents) {
    if (resident.first == kNone) continue;
    owners.push_back(resident);
    memory.push_back({segment.buffers[resident.buffer].bytes(), begins[resident.first], begins[resident.last + 1] - 1,
                      passes::MemoryRegion::kFixed});
  }
  HAI_TRY(const passes::MemoryPlan plan, passes::plan_memory(memory));
  for (size_t i = 0; i < owners.size(); ++i) {
    for (size_t g = owners[i].first; g <= owners[i].last; ++g) {
      Home& home = out.homes[g][owners[i].buffer];
      if (home.address < 0 || owners[i].first == owners[i].last) home = {plan.offset_bytes[i], owners[i].ring_rows};
    }
  }
  out.sram_bytes = plan.fixed_bytes;
  out.sram_lower_bound_bytes = plan.fixed_lower_bound_bytes;
  return out;
}

// Places in the scratch image; what was spilled and yet never leaves a group needs none.
void place_spilled(Segment& segment, Schedule& plan) {
  for (const Group& group : plan.groups) {
    for (const GroupBuffer& own : group.buffers) {
      if (own.keep == Keep::kInside) segment.buffers[own.buffer].spilled = false;
    }
  }
  plan.scratch_offset.assign(segment.buffers.size(), 0);
  for (BufferId b = 0; b < segment.buffers.size(); ++b) {
    if (!segment.buffers[b].spilled) continue;
    plan.scratch_offset[b] = plan.scratch_bytes;
    plan.scratch_bytes += align_up(segment.buffers[b].bytes(), 256);
  }
}

std::vector<bool> spilled_of(const Segment& segment) {
  std::vector<bool> out;
  for (const Buffer& buffer : segment.buffers) out.push_back(buffer.spilled);
  return out;
}

void set_spilled(Segment& segment, const std::vector<bool>& spilled) {
  for (BufferId b = 0; b < segment.buffers.size(); ++b) segment.buffers[b].spilled = spilled[b];
}

// `given`, and what is larger than that.
std::vector<bool> with_large_spilled(const Segment& segment, const std::vector<bool>& given, int64_t bytes) {
  std::vector<bool> out = given;
  for (BufferId b = 0; b < out.size(); ++b) {
    if (!segment.buffers[b].is_given() && segment.buffers[b].bytes() > bytes) out[b] = true;
  }
  return out;
}

// The best schedule of those that spill what is spilled already and as little more as they can, and what it spills; of
// kAuto with a recomputed halo where a kept one does not fit.
Result<Schedule> schedule_with(Segment& segment, LayerCosts& costs, const Machine& machine,
                               const ScheduleOptions& options) {
  const auto sram = static_cast<int64_t>(machine.sram_bytes);
  int64_t room = sram;
  std::optional<Search> search;
  for (int tries = 0;;) {
    if (!search) search.emplace(segment, costs, machine, options, room);
    std::vector<Group> groups = search->run();
    const bool possible = !groups.empty();
    if (possible) {
      HAI_TRY(Schedule found, place(segment, uses_of(segment), std::move(groups)));
      found.cycles = search->cycles();
      if (found.sram_bytes <= sram) {
        place_spilled(segment, found);
        return found;
      }
      if (++tries < kMostTries) {
        room = static_cast<int64_t>(static_cast<double>(room) * kRoomSteps);
        search.reset();
        continue;
      }
    }
    const std::optional<BufferId> victim = possible ? search->largest() : search->largest_alive(search->stuck_at());
    if (!victim) return too_large_for_scratchpad(segment, search->stuck_at(), machine);
    segment.buffers[*victim].spilled = true;  // at most once a buffer
    search->forget(*victim);
    if (possible) {
      tries = 0;
      room = sram;
      search.reset();
    }
  }
}

}  // namespace

Result<HaloChoice> parse_halo(std::string_view name) {
  if (name == "auto") return HaloChoice::kAuto;
  if (name == "kept") return HaloChoice::kKept;
  if (name == "recomputed") return HaloChoice::kRecomputed;
  return make_error(StatusCode::kInvalidArgument, "N111",
                    "halo \"{}\" does not exist; choose one of auto, kept, recomputed", name);
}

Result<Schedule> schedule(Segment& segment, const Machine& machine, const ScheduleOptions& options) {
  const std::vector<bool> given = spilled_of(segment);
  LayerCosts costs(segment, machine);
  ScheduleOptions form = options;
  if (options.halo == HaloChoice::kAuto) form.halo = HaloChoice::kKept;
  HAI_TRY(Schedule best, schedule_with(segment, costs, machine, form));
  std::vector<bool> spilled = spilled_of(segment);
  const bool is_tight = spilled != given || std::any_of(best.groups.begin(), best.groups.end(),
                                                        [&](const Group& group) { return costs.loads_again(group); });
  if (!options.cascade || !is_tight) return best;
  const auto try_from = [&](const std::vector<bool>& start) {
    set_spilled(segment, start);
    Result<Schedule> other = schedule_with(segment, costs, machine, form);
    if (!other || other->cycles >= best.cycles) return;
    best = std::move(*other);
    spilled = spilled_of(segment);
  };
  const auto sram = static_cast<int64_t>(machine.sram_bytes);
  for (const int64_t limit : {sram / 2, sram / 4}) try_from(with_large_spilled(segment, given, limit));
  const std::vector<bool> all = with_large_spilled(segment, given, 0);
  try_from(all);
  if (options.halo == HaloChoice::kAuto) {
    form.halo = HaloChoice::kAuto;
    for (const std::vector<bool>& start : {std::vector<bool>(spilled), given, all}) try_from(start);
  }
  set_spilled(segment, spilled);
  return best;
}

}  // namespace hai::sd3403

// Method: a load is needless in later passes when nothing else ever writes where it writes: then the bytes of the pass
// before are there all the time. Loads of one stream to one place are the same load. Values are computed with all
// loads, which give the same.
#include "devices/sd3403/exec/passes.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/checked.h"
#include "devices/sd3403/exec/timing.h"
#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

// Bytes [begin, end) of a core's cache and the stream in them; -1: made by the core itself.
struct Content {
  int64_t core, begin, end, entry;
  bool operator<(const Content& other) const {
    return std::tie(core, begin, end, entry) < std::tie(other.core, other.begin, other.end, other.entry);
  }
  bool overlaps(const Content& other) const { return core == other.core && begin < other.end && other.begin < end; }
};

Content content_of(int64_t core, const WeightLoad& load) {
  return {core, load.destination, load.destination + load.expanded_bytes, load.entry};
}

std::set<Content> contents_of(std::span<const Command> commands) {
  std::set<Content> out;
  std::vector<Access> accesses;
  for (const Command& command : commands) {
    if (const auto* load = std::get_if<WeightLoad>(&command.body)) {
      out.insert(content_of(command.core, *load));
      continue;
    }
    accesses.clear();
    accesses_of(command, accesses);
    for (const Access& access : accesses) {
      if (access.writes && access.memory == Memory::kCache)
        out.insert({command.core, access.address, access.end(), -1});
    }
  }
  return out;
}

// Those that nothing else touches. In the order of their beginnings, a content is alone when those before end before it
// and the next begins after it.
std::set<Content> resident_of(const std::set<Content>& contents) {
  std::set<Content> out;
  int64_t reached = 0;
  int64_t core = -1;
  for (auto at = contents.begin(); at != contents.end(); ++at) {
    if (at->core != core) reached = 0;
    core = at->core;
    const auto next = std::next(at);
    const bool alone = at->begin >= reached && (next == contents.end() || !at->overlaps(*next));
    if (alone && at->entry >= 0) out.insert(*at);
    reached = std::max(reached, at->end);
  }
  return out;
}

}  // namespace

LaterPass later_pass(std::span<const Command> commands) {
  const std::set<Content> resident = resident_of(contents_of(commands));
  LaterPass out;
  out.commands.reserve(commands.size());
  for (size_t number = 0; number < commands.size(); ++number) {
    const Command& command = commands[number];
    const auto* load = std::get_if<WeightLoad>(&command.body);
    if (load != nullptr && resident.contains(content_of(command.core, *load))) {
      out.resident_bytes += load->expanded_bytes;
    } else {
      out.commands.push_back(command);
      out.numbers.push_back(number);
    }
  }
  return out;
}

Result<BatchTime> time_batch(std::span<const Command> commands, std::span<const std::byte> constants,
                             const Timeline& first, int64_t samples) {
  BatchTime out;
  out.whole = first;
  if (samples == 1) return out;
  out.pass = later_pass(commands);
  HAI_TRY(out.later, time_program(out.pass.commands, constants, first.machine));
  const int64_t others = samples - 1;
  const auto ticks = checked_mul(out.later.end_ticks, others);
  if (!ticks || !checked_add(*ticks, first.end_ticks)) {
    return make_error(StatusCode::kOutOfRange, "N094",
                      "{} passes of {} cycles are longer than time is counted; run fewer samples at once", samples,
                      out.later.cycles());
  }
  out.whole.passes = samples;
  out.whole.commands.clear();
  out.whole.end_ticks += *ticks;
  out.whole.ddr_busy_ticks += out.later.ddr_busy_ticks * others;
  for (LayerTime& layer : out.whole.layers) {
    const auto same = std::lower_bound(out.later.layers.begin(), out.later.layers.end(), layer.layer,
                                       [](const LayerTime& l, int64_t number) { return l.layer < number; });
    if (same != out.later.layers.end() && same->layer == layer.layer) add_layer(*same, others, layer);
  }
  add_layer(out.later.total, others, out.whole.total);
  return out;
}

}  // namespace hai::sd3403

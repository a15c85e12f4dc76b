// Waits and signals from what commands read and write.
//
// Method: each pair of queues has one semaphore. Walking the commands in order, a command must run after every earlier
// one of another queue that it conflicts with (access.h). Of those of one queue only the last matters, since a queue
// runs in order, and none that a wait before, or another wait of its own, has put behind already: every command carries
// how far it knows each queue to have come (a vector clock, Mattern 1989), and inherits from what it waits for. The
// search runs backwards through each queue and stops there, so that it looks at recent commands only.
#include "devices/sd3403/lower/synchronise.h"

#include <algorithm>
#include <array>

#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

constexpr size_t kQueues = 6;
using Clock = std::array<int64_t, kQueues>;  // commands of each queue that are done for sure

struct Entry {
  const Command* command;
  std::vector<Access> accesses;
  Clock clock{};                        // when it ends
  std::array<bool, kQueues> waits{};    // on the semaphore from that queue, before it
  std::array<bool, kQueues> signals{};  // to that queue, after it
};

bool conflict(const Entry& a, const Entry& b) {
  for (const Access& x : a.accesses) {
    for (const Access& y : b.accesses) {
      if ((x.writes || y.writes) && may_touch(x, y)) return true;
    }
  }
  return false;
}

size_t queue_number(const Command& command) {
  return command.core * (kQueues / 2) + static_cast<size_t>(queue_of(command.body));
}

using Queues = std::array<std::vector<Entry>, kQueues>;

// How many commands of each other queue must be done before the entry, beyond what its queue knows; 0: none.
Clock wanted_of(const Queues& queues, size_t own, const Clock& known, const Entry& entry) {
  Clock wanted{};
  for (size_t other = 0; other < kQueues; ++other) {
    if (other == own) continue;
    auto position = static_cast<int64_t>(queues[other].size());
    while (position > known[other] && !conflict(queues[other][static_cast<size_t>(position - 1)], entry)) --position;
    if (position > known[other]) wanted[other] = position;
  }
  return wanted;
}

// Whether what is wanted of another queue has waited for it already.
bool is_implied(const Queues& queues, const Clock& wanted, size_t queue) {
  for (size_t other = 0; other < kQueues; ++other) {
    if (other == queue || wanted[other] == 0) continue;
    if (queues[other][static_cast<size_t>(wanted[other] - 1)].clock[queue] >= wanted[queue]) return true;
  }
  return false;
}

template <typename Sync>
Command sync(const Command& beside, size_t queue, size_t from, size_t to) {
  Sync body;
  body.queue = static_cast<int64_t>(queue % (kQueues / 2));
  if constexpr (!std::is_same_v<Sync, End>) body.semaphore = static_cast<int64_t>(from * kQueues + to);
  return {static_cast<uint8_t>(queue / (kQueues / 2)), beside.layer, beside.tile, body};
}

}  // namespace

std::vector<Command> synchronise(const std::vector<Command>& commands) {
  Queues queues;
  std::array<Clock, kQueues> known{};
  std::vector<std::pair<size_t, size_t>> order;  // queue, position
  for (const Command& command : commands) {
    const size_t own = queue_number(command);
    Entry entry{&command, {}, {}, {}, {}};
    accesses_of(command, entry.accesses);
    Clock& clock = known[own];
    const Clock wanted = wanted_of(queues, own, clock, entry);
    for (size_t other = 0; other < kQueues; ++other) {
      if (wanted[other] == 0 || is_implied(queues, wanted, other)) continue;
      Entry& before = queues[other][static_cast<size_t>(wanted[other] - 1)];
      before.signals[own] = true;
      entry.waits[other] = true;
    }
    for (size_t other = 0; other < kQueues; ++other) {
      if (!entry.waits[other]) continue;
      const Entry& before = queues[other][static_cast<size_t>(wanted[other] - 1)];
      for (size_t q = 0; q < kQueues; ++q) clock[q] = std::max(clock[q], before.clock[q]);
    }
    clock[own] = static_cast<int64_t>(queues[own].size()) + 1;
    entry.clock = clock;
    order.emplace_back(own, queues[own].size());
    queues[own].push_back(std::move(entry));
  }
  std::vector<Command> out;
  for (const auto& [queue, position] : order) {
    const Entry& entry = queues[queue][position];
    for (size_t other = 0; other < kQueues; ++other) {
      if (entry.waits[other]) out.push_back(sync<Wait>(*entry.command, queue, other, queue));
    }
    out.push_back(*entry.command);
    for (size_t other = 0; other < kQueues; ++other) {
      if (entry.signals[other]) out.push_back(sync<Signal>(*entry.command, queue, queue, other));
    }
    if (position + 1 == queues[queue].size()) out.push_back(sync<End>(*entry.command, queue, queue, queue));
  }
  return out;
}

}  // namespace hai::sd3403

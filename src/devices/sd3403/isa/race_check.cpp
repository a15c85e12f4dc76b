// Races by vector clocks.
//
// Method: every command gets the number of commands of each queue that are surely done when it starts (a vector clock,
// Mattern 1989). A Signal carries its queue's clock; a Wait that has taken n signals of a semaphore in all knows those
// of a queue that must be among any n: n less all that the other queues give. Two commands are ordered when one's clock
// counts the other. Clocks grow along a queue, so that for each command the unordered ones of another queue are a
// stretch; only those are looked at. It shares nothing with the code that places the waits.
#include "devices/sd3403/isa/race_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "base/result.h"
#include "devices/sd3403/isa/access.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

constexpr size_t kKinds = 3;
constexpr size_t kQueues = 2 * kKinds;
using Clock = std::array<size_t, kQueues>;

size_t queue_number(const Command& command) {
  return command.core * kKinds + static_cast<size_t>(queue_of(command.body));
}
bool transfers(size_t queue) { return queue % kKinds != static_cast<size_t>(QueueKind::kCompute); }

int64_t channel_of(const Command& command) {
  return std::visit(
      [](const auto& body) -> int64_t {
        if constexpr (requires { body.channel; }) {
          return body.channel;
        } else {
          return 0;
        }
      },
      command.body);
}

struct Step {
  size_t number = 0;  // of the command
  Clock start{};      // commands of each queue that are done when it starts; of its own queue: surely done, not begun
  std::vector<Access> accesses;
};

// Signals of one semaphore by the queues that give them.
struct Semaphore {
  std::array<std::vector<Clock>, kQueues> given;
  std::array<int64_t, kQueues> all{};  // that the program has
  int64_t taken = 0;

  int64_t count() const {
    int64_t total = 0;
    for (const auto& clocks : given) total += static_cast<int64_t>(clocks.size());
    return total;
  }
  // Precondition: count() >= taken.
  void join(Clock& clock) const {
    for (size_t q = 0; q < kQueues; ++q) {
      int64_t sure = taken;
      for (size_t other = 0; other < kQueues; ++other) sure -= other == q ? 0 : all[other];
      if (sure <= 0) continue;
      const Clock& known = given[q][static_cast<size_t>(sure - 1)];
      for (size_t i = 0; i < kQueues; ++i) clock[i] = std::max(clock[i], known[i]);
    }
  }
};

class Clocks {
 public:
  explicit Clocks(std::span<const Command> commands) : commands_(commands) {
    for (size_t i = 0; i < commands.size(); ++i) {
      const size_t queue = queue_number(commands[i]);
      Step step;
      step.number = i;
      accesses_of(commands[i], step.accesses);
      queues_[queue].push_back(std::move(step));
      if (const auto* signal = std::get_if<Signal>(&commands[i].body))
        semaphores_[signal->semaphore].all[queue] += signal->count;
    }
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t q = 0; q < kQueues; ++q) moved = run(q) || moved;
    }
    for (size_t q = 0; q < kQueues; ++q) HAI_CHECK(next_[q] == queues_[q].size());
  }

  const std::vector<Step>& queue(size_t number) const { return queues_[number]; }

 private:
  // As far as the queue gets.
  bool run(size_t queue) {
    const size_t before = next_[queue];
    for (size_t& at = next_[queue]; at < queues_[queue].size(); ++at) {
      Step& step = queues_[queue][at];
      const CommandBody& body = commands_[step.number].body;
      Clock& clock = clocks_[queue];
      if (const auto* wait = std::get_if<Wait>(&body)) {
        Semaphore& semaphore = semaphores_[wait->semaphore];
        if (semaphore.count() < semaphore.taken + wait->count) break;
        semaphore.taken += wait->count;
        semaphore.join(clock);
      } else if (const auto* signal = std::get_if<Signal>(&body)) {
        Clock done = clock;
        done[queue] = at;
        auto& given = semaphores_[signal->semaphore].given[queue];
        given.insert(given.end(), static_cast<size_t>(signal->count), done);
      }
      if (!transfers(queue)) clock[queue] = at;
      step.start = clock;
    }
    return next_[queue] > before;
  }

  std::span<const Command> commands_;
  std::array<std::vector<Step>, kQueues> queues_;
  std::array<size_t, kQueues> next_{};
  std::array<Clock, kQueues> clocks_{};
  std::map<int64_t, Semaphore> semaphores_;
};

std::optional<Race> race_of(std::span<const Command> commands, const Step& a, const Step& b) {
  for (const Access& x : a.accesses) {
    for (const Access& y : b.accesses) {
      if ((!x.writes && !y.writes) || !may_touch(x, y)) continue;
      return Race{a.number, b.number,
                  fmt::format("command {} ({}) and command {} ({}) are not ordered, and {} of the one may be {} of the "
                              "other",
                              a.number, disassemble(commands[a.number]), b.number, disassemble(commands[b.number]),
                              x.field, y.field)};
    }
  }
  return std::nullopt;
}

// Between two queues.
std::optional<Race> race_between(std::span<const Command> commands, const Clocks& clocks, size_t p, size_t q) {
  for (size_t j = 0; j < clocks.queue(q).size(); ++j) {
    const Step& b = clocks.queue(q)[j];
    if (b.accesses.empty()) continue;
    for (size_t i = b.start[p]; i < clocks.queue(p).size(); ++i) {
      const Step& a = clocks.queue(p)[i];
      if (a.start[q] > j) break;
      if (auto race = race_of(commands, a, b)) return race;
    }
  }
  return std::nullopt;
}

// Of the channels of one queue.
std::optional<Race> race_within(std::span<const Command> commands, const Clocks& clocks, size_t queue) {
  for (size_t j = 0; j < clocks.queue(queue).size(); ++j) {
    const Step& b = clocks.queue(queue)[j];
    if (b.accesses.empty()) continue;
    for (size_t i = b.start[queue]; i < j; ++i) {
      const Step& a = clocks.queue(queue)[i];
      if (channel_of(commands[a.number]) == channel_of(commands[b.number])) continue;
      if (auto race = race_of(commands, a, b)) return race;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Race> find_race(std::span<const Command> commands) {
  const Clocks clocks(commands);
  for (size_t q = 0; q < kQueues; ++q) {
    for (size_t p = 0; p < q; ++p) {
      if (auto race = race_between(commands, clocks, p, q)) return race;
    }
    if (!transfers(q)) continue;
    if (auto race = race_within(commands, clocks, q)) return race;
  }
  return std::nullopt;
}

}  // namespace hai::sd3403

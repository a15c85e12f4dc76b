// Queues in rounds, each as far as its semaphores let it.
//
// A verified program has one queue waiting for each semaphore, so the command at which a stuck one holds its queue is
// the same in any order.
#include "devices/sd3403/exec/run_order.h"

#include <algorithm>
#include <array>

#include "base/result.h"

namespace hai::sd3403 {
namespace {

constexpr size_t kKinds = 3;
using Queues = std::array<std::vector<size_t>, 2 * kKinds>;

Queues queues_of(std::span<const Command> commands) {
  Queues queues;
  for (size_t i = 0; i < commands.size(); ++i) {
    queues[commands[i].core * kKinds + static_cast<size_t>(queue_of(commands[i].body))].push_back(i);
  }
  return queues;
}

}  // namespace

bool BrokenParts::is_stuck(int64_t semaphore) const {
  return std::find(stuck_semaphores.begin(), stuck_semaphores.end(), semaphore) != stuck_semaphores.end();
}

bool BrokenParts::hangs(size_t command) const {
  return std::find(hung_commands.begin(), hung_commands.end(), command) != hung_commands.end();
}

RunOrder run_order(std::span<const Command> commands, const BrokenParts& broken) {
  const Queues queues = queues_of(commands);
  std::array<size_t, 2 * kKinds> next{};
  std::array<int64_t, kSemaphores> signals{};
  RunOrder out;
  out.commands.reserve(commands.size());
  for (size_t before = SIZE_MAX; before != out.commands.size();) {
    before = out.commands.size();
    for (size_t q = 0; q < queues.size(); ++q) {
      for (; next[q] < queues[q].size(); ++next[q]) {
        const size_t number = queues[q][next[q]];
        const CommandBody& body = commands[number].body;
        if (broken.hangs(number)) break;
        const auto* signal = std::get_if<Signal>(&body);
        if (signal != nullptr && !broken.is_stuck(signal->semaphore))
          signals[static_cast<size_t>(signal->semaphore)] += signal->count;
        if (const auto* wait = std::get_if<Wait>(&body)) {
          int64_t& there = signals[static_cast<size_t>(wait->semaphore)];
          if (there < wait->count) break;
          there -= wait->count;
        }
        out.commands.push_back(number);
      }
    }
  }
  HAI_CHECK(broken.any() || out.complete(commands.size()));
  const auto held = [&](auto matches) -> std::optional<size_t> {
    for (size_t q = 0; q < queues.size(); ++q) {
      if (next[q] < queues[q].size() && matches(queues[q][next[q]])) return queues[q][next[q]];
    }
    return {};
  };
  for (const int64_t semaphore : broken.stuck_semaphores) {
    out.stands.push_back(held([&](size_t number) {
      const auto* wait = std::get_if<Wait>(&commands[number].body);
      return wait != nullptr && wait->semaphore == semaphore;
    }));
  }
  for (const size_t command : broken.hung_commands)
    out.stands.push_back(held([&](size_t number) { return number == command; }));
  return out;
}

}  // namespace hai::sd3403

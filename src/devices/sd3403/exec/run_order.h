// The order in which the queues of a program run, with all parts of the machine at work or with some that are not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

inline constexpr int64_t kSemaphores = 64;

// What does not do its work; nothing by default.
struct BrokenParts {
  std::vector<int64_t> stuck_semaphores;  // their signals never arrive
  std::vector<size_t> hung_commands;      // by number: they begin and are never done

  bool any() const { return !stuck_semaphores.empty() || !hung_commands.empty(); }
  bool is_stuck(int64_t semaphore) const;
  bool hangs(size_t command) const;
};

struct RunOrder {
  std::vector<size_t> commands;  // numbers; those that are never done are not among them
  // By broken part, first the semaphores, then the commands: the command at which a queue stands because of it. None
  // where no queue gets there.
  std::vector<std::optional<size_t>> stands;

  bool complete(size_t command_count) const { return commands.size() == command_count; }
};

// Each queue goes on until it waits, so everything that can be done is done: how far each gets does not hang on time
// (a Kahn network), except that a channel which hangs also holds what its other queue gives it later, which only time
// can tell. Precondition: verified.
RunOrder run_order(std::span<const Command> commands, const BrokenParts& broken = {});

}  // namespace hai::sd3403

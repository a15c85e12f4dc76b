// Whether commands of different queues can touch the same bytes at the same time: for tests of the compiler.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "devices/sd3403/isa/command.h"

namespace hai::sd3403 {

struct Race {
  size_t first = 0, second = 0;  // numbers of commands, in the order that they were given
  std::string text;              // both, and what they touch
};

// A pair of commands of which one writes what the other may touch (access.h), while nothing says which runs first:
// commands of one queue run in order (of a transfer queue, those of one channel do), a Wait runs after the signals that
// it must have got. None: the result of a run does not depend on its times. Precondition: verify_commands accepts them.
std::optional<Race> find_race(std::span<const Command> commands);

}  // namespace hai::sd3403

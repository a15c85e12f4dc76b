// Wall time of parts of a command.
#pragma once

#include <chrono>

namespace hai::tools {

using Clock = std::chrono::steady_clock;

inline double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

}  // namespace hai::tools

// DimRange: what a caller makes of a named dimension of a model.
#pragma once

#include <cstdint>
#include <string>

namespace hai {

// A number (min == max), or a range within which the dimension stays free.
struct DimRange {
  int64_t min = 1;
  int64_t max = 1;

  constexpr DimRange() = default;
  constexpr DimRange(int64_t number) : min(number), max(number) {}  // NOLINT: a number is a range of itself
  constexpr DimRange(int64_t low, int64_t high) : min(low), max(high) {}
  constexpr bool is_number() const { return min == max; }
};

// "640", "1..16", as the command line takes them.
inline std::string to_string(const DimRange& range) {
  const std::string low = std::to_string(range.min);
  return range.is_number() ? low : low + ".." + std::to_string(range.max);
}

}  // namespace hai

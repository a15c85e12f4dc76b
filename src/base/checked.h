// Checked integer arithmetic: sizes that come from files and shapes are multiplied and added only through these.
//
// Each returns std::nullopt on overflow. No exceptions, no wrap-around.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace hai {

template <typename T>
constexpr std::optional<T> checked_add(T a, T b) {
  T out{};
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

template <typename T>
constexpr std::optional<T> checked_mul(T a, T b) {
  T out{};
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

// Rounds up to a multiple of `alignment` (a power of two); std::nullopt on overflow.
template <typename T>
constexpr std::optional<T> checked_align_up(T value, T alignment) {
  const auto sum = checked_add<T>(value, static_cast<T>(alignment - 1));
  if (!sum) return std::nullopt;
  return static_cast<T>(*sum & static_cast<T>(~(alignment - 1)));
}

// For values known to be far from the limits.
constexpr int64_t align_up(int64_t value, int64_t alignment) { return (value + alignment - 1) / alignment * alignment; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace hai

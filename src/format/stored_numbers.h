// Numbers at a byte offset of a .hai file, aligned or not.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <span>

namespace hai::format {

static_assert(std::endian::native == std::endian::little, "numbers of a .hai file are copied as they stand");

// Precondition of both: the number lies inside `bytes`.
template <typename T>
T load(std::span<const std::byte> bytes, size_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void store(std::span<std::byte> bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

}  // namespace hai::format

// AlignedBytes: a growable byte buffer whose first byte lies on a 64-byte boundary, also after a copy.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace hai {

inline constexpr size_t kTensorAlignment = 64;

template <typename T>
struct AlignedAllocator {
  using value_type = T;

  AlignedAllocator() = default;
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U>&) {}  // NOLINT: allocators convert

  T* allocate(size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{kTensorAlignment}));
  }
  void deallocate(T* memory, size_t) { ::operator delete(memory, std::align_val_t{kTensorAlignment}); }

  template <typename U>
  bool operator==(const AlignedAllocator<U>&) const {
    return true;
  }
};

using AlignedBytes = std::vector<std::byte, AlignedAllocator<std::byte>>;

}  // namespace hai

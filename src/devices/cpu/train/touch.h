// Reading memory ahead of a kernel that takes it in an order no hardware foresees.
//
// One load a line, in the order in which lines lie: the prefetchers of caches follow that, and the kernel then finds
// all of it in the second cache. Worth its loads for tensors that come from memory or the last cache.
#pragma once

#include <cstdint>

namespace hai::cpu {

inline constexpr int64_t kFarBytes = int64_t{16} << 20;   // of a tensor that no later reader finds in a cache
inline constexpr int64_t kTouchBytes = int64_t{4} << 20;  // of one that the second cache does not hold

inline constexpr int64_t kTouchChannels = 64;  // fewer are a line or two a pixel: nearly in order

inline void touch(const float* from, int64_t count) {
  constexpr int64_t kLine = 16;
  for (int64_t i = 0; i < count; i += kLine) {
    const float value = from[i];
    __asm__ volatile("" ::"r"(value));
  }
}

}  // namespace hai::cpu

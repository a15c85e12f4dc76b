// A range of elements or rows, cut into chunks for the session's threads; small ranges stay on the calling thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"

namespace hai::cpu {

// Calls body(begin, end) over [0, count) in chunks of `chunk`. Where the cuts fall does not depend on the threads.
template <typename Body>
void for_chunks(ThreadPool& threads, int64_t count, int64_t chunk, Body&& body) {
  if (count <= 0) return;
  const int64_t chunks = (count + chunk - 1) / chunk;
  if (chunks == 1 || threads.thread_count() == 1) {
    body(int64_t{0}, count);
    return;
  }
  threads.parallel(chunks, [&](int64_t i, int) { body(i * chunk, std::min(count, (i + 1) * chunk)); });
}

// Elements of f32 a chunk of cheap work: large enough to hide handing it out, small enough to balance.
inline constexpr int64_t kElementChunk = 16384;

}  // namespace hai::cpu

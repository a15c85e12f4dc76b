// A loop over [0, count) in contiguous ranges, on the thread pool when the work is worth waking it.
//
//   parallel_range(context.threads, rows, row_bytes, [&](int64_t begin, int64_t end) { ... });
//
// Which thread runs a range, and where ranges begin, depends on the number of threads: the body must compute each index
// in a way that does not.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"

namespace hai::cpu {

// Less work than this (bytes moved or element operations) in one range costs more to hand over than to do.
inline constexpr int64_t kParallelGrain = 32768;

// `work_per_index`: bytes moved or element operations of one index; only its order of magnitude matters.
template <typename F>
void parallel_range(ThreadPool& threads, int64_t count, int64_t work_per_index, F&& body) {
  if (count <= 0) return;
  const int64_t indices_per_grain = std::max<int64_t>(1, kParallelGrain / std::max<int64_t>(1, work_per_index));
  // Four ranges a thread even out threads of different speed.
  const int64_t wanted = int64_t{4} * threads.thread_count();
  const int64_t ranges = std::min({count / indices_per_grain, wanted, count});
  if (threads.thread_count() == 1 || ranges < 2) {
    body(int64_t{0}, count);
    return;
  }
  const int64_t base = count / ranges;
  const int64_t longer = count % ranges;  // the first `longer` ranges have one index more
  threads.parallel(ranges, [&](int64_t i, int) {
    const int64_t begin = i * base + std::min(i, longer);
    body(begin, begin + base + (i < longer ? 1 : 0));
  });
}

}  // namespace hai::cpu

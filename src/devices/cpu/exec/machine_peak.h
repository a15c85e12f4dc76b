// What this machine can do at most, measured: multiply-accumulates on registers alone, and reads from each level of
// memory. About a second in all. Kernels are compared with it (`hai bench --roofline`); nothing depends on it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/thread_pool.h"
#include "devices/cpu/exec/isa.h"

namespace hai::cpu {

// All threads of a pool together. The least disturbed of several tries counts.
struct ArithmeticPeak {
  Isa isa = Isa::kScalar;
  double f32_macs_per_s = 0;
  double i8_macs_per_s = 0;  // dot products of bytes where the set has them
};
ArithmeticPeak measure_arithmetic_peak(Isa isa, ThreadPool& pool);

// Reading working sets of `bytes` a thread, all threads together.
struct ReadBandwidth {
  int64_t bytes = 0;
  double bytes_per_s = 0;
};
// From what any first-level cache holds to what no cache holds, ascending. Error C020 without memory for it.
Result<std::vector<ReadBandwidth>> measure_read_bandwidths(Isa isa, ThreadPool& pool);

}  // namespace hai::cpu

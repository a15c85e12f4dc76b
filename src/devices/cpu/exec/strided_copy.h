// Copies of elements between two strided views of the same index space: what slice, split, concat, pad, transpose and
// expand are made of.
//
// The plan collapses axes that are contiguous in both views, folds the contiguous tail into a run of bytes, and then
// picks: memcpy of runs; a typed loop for runs of 1, 2, 4, 8 bytes; or a cache-blocked 2-D transpose when the two views
// are contiguous along different axes. Strides may be negative (slice with a negative step) and, in the source, zero
// (expand). Nothing is allocated.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "devices/cpu/exec/isa.h"
#include "types/shape.h"

namespace hai::cpu {

struct StridedCopy {
  int rank = 0;
  std::array<int64_t, kMaxRank> size{};
  std::array<int64_t, kMaxRank> destination_stride{};  // in bytes
  std::array<int64_t, kMaxRank> source_stride{};       // in bytes
  int64_t element_bytes = 1;

  void add_axis(int64_t axis_size, int64_t destination_stride_bytes, int64_t source_stride_bytes);
};

// Row-major strides of `dims` in bytes, by axis.
std::array<int64_t, kMaxRank> row_major_strides(const Dims& dims, int64_t element_bytes);

// `destination` and `source` point to the elements of index 0 in every axis. The views must not overlap.
void run_strided_copy(StridedCopy copy, std::byte* destination, const std::byte* source, Isa isa, ThreadPool& threads);

}  // namespace hai::cpu

// Memory planning: offsets for buffers whose lifetimes are known, so that live ones never overlap and the peak is near
// its lower bound.
//
// Works on plain buffers, not on a graph: device lowerings add intermediates of their own, and training plans the same
// way. The two regions of the arena (architecture.md, "Memory") are planned apart: per sample, where every size and
// offset is that of batch 1 and scales with the batch, and fixed. Non-overlap at batch 1 therefore holds at any batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace hai::passes {

inline constexpr int64_t kArenaAlignmentBytes = 64;

enum class MemoryRegion : uint8_t { kPerSample, kFixed };

// A buffer is written first at step `first` and read last at step `last` (steps are instruction numbers; a step's
// inputs and outputs are live together). A buffer that is never read has last == first.
struct MemoryBuffer {
  int64_t size_bytes = 0;  // of one sample in the per-sample region; rounded up to the alignment here
  int64_t first = 0;
  int64_t last = 0;
  MemoryRegion region = MemoryRegion::kPerSample;
};

// Permission that buffer `output` starts life in the bytes of buffer `input`: both have the same size and region, and
// `input` is read last where `output` is written first. A hint that does not hold is ignored.
struct InPlaceHint {
  size_t output = 0;
  size_t input = 0;
};

struct MemoryPlan {
  std::vector<int64_t> offset_bytes;  // one per buffer, a multiple of the alignment
  int64_t per_sample_bytes = 0;
  int64_t fixed_bytes = 0;
  // The largest sum of live bytes at any step, in-place sharing counted once: no plan can be smaller.
  int64_t per_sample_lower_bound_bytes = 0;
  int64_t fixed_lower_bound_bytes = 0;
  int64_t lower_bound_bytes = 0;  // of both regions together at batch 1
};

// Error P001 when sizes are negative or their sum overflows, P002 when a lifetime ends before it begins.
Result<MemoryPlan> plan_memory(std::span<const MemoryBuffer> buffers, std::span<const InPlaceHint> hints = {});

}  // namespace hai::passes

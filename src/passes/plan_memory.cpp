// Places buffers in an arena so that those alive at the same time do not overlap.
//
// Method: in-place hints merge buffers into blocks; blocks are placed one after the other, each into the tightest gap
// that fits between the placed blocks that live at the same time (best fit), else at the end. That greedy step is run
// for several orders of the blocks (by size, by the load of their busiest step, by lifetime, by start), as in Pisarchyk
// and Lee, "Efficient Memory Management for Deep Neural Net Inference" (2020), and the smallest arena wins; a plan that
// meets the lower bound ends the search. Ties are broken by index, so the plan is a function of its input.
// It does not reorder instructions and does not split buffers.
#include "passes/plan_memory.h"

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/checked.h"

namespace hai::passes {
namespace {

// Buffers merged by in-place sharing: one size, one place, one lifetime from the first write to the last read.
struct Block {
  int64_t size = 0;
  int64_t first = 0;
  int64_t last = 0;
  int64_t load = 0;  // bytes alive at its busiest step
  MemoryRegion region = MemoryRegion::kPerSample;
};

struct Placement {
  std::vector<int64_t> offsets;  // one per block of the region
  int64_t peak = 0;
};

bool meets(const Block& a, const Block& b) { return a.first <= b.last && b.first <= a.last; }

Status check(std::span<const MemoryBuffer> buffers) {
  int64_t total = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const MemoryBuffer& buffer = buffers[i];
    if (buffer.last < buffer.first) {
      return make_error(StatusCode::kInternal, "P002", "buffer {} is read last at step {}, before step {} writes it", i,
                        buffer.last, buffer.first);
    }
    const auto size = buffer.size_bytes < 0 ? std::nullopt : checked_align_up(buffer.size_bytes, kArenaAlignmentBytes);
    const auto sum = size ? checked_add(total, *size) : std::nullopt;
    if (!sum) {
      return make_error(StatusCode::kOutOfRange, "P001",
                        "tensor {} of {} bytes makes the working memory overflow 2^63 - 1 bytes; use smaller inputs", i,
                        buffer.size_bytes);
    }
    total = *sum;
  }
  return {};
}

// block_of[i]: the block of buffer i. Hints are taken in order of steps; the input must end where the output begins,
// and so must its block, so that no other buffer of it is read later.
std::vector<size_t> merge(std::span<const MemoryBuffer> buffers, std::span<const InPlaceHint> hints,
                          std::vector<Block>& blocks) {
  std::vector<size_t> block_of(buffers.size());
  blocks.clear();
  for (size_t i = 0; i < buffers.size(); ++i) {
    block_of[i] = i;
    blocks.push_back({align_up(buffers[i].size_bytes, kArenaAlignmentBytes), buffers[i].first, buffers[i].last, 0,
                      buffers[i].region});
  }
  std::vector<InPlaceHint> sorted(hints.begin(), hints.end());
  std::sort(sorted.begin(), sorted.end(), [&](const InPlaceHint& a, const InPlaceHint& b) {
    return std::tuple(buffers[a.output].first, a.output, a.input) <
           std::tuple(buffers[b.output].first, b.output, b.input);
  });
  for (const InPlaceHint& hint : sorted) {
    if (block_of[hint.output] != hint.output) continue;  // already shares with another input
    Block& target = blocks[block_of[hint.input]];
    const Block& moved = blocks[hint.output];
    if (target.region != moved.region || target.size != moved.size || target.last != moved.first ||
        buffers[hint.input].last != moved.first || block_of[hint.input] == hint.output) {
      continue;
    }
    target.last = moved.last;
    block_of[hint.output] = block_of[hint.input];
  }
  return block_of;
}

// Sum of live bytes per step, as breakpoints sorted by step; returns the maximum and fills each block's load.
int64_t measure_load(std::vector<Block>& blocks) {
  std::vector<std::pair<int64_t, int64_t>> changes;  // step, bytes
  for (const Block& block : blocks) {
    changes.emplace_back(block.first, block.size);
    changes.emplace_back(block.last + 1, -block.size);
  }
  std::sort(changes.begin(), changes.end());
  std::vector<std::pair<int64_t, int64_t>> levels;  // from this step on, so many bytes
  int64_t level = 0;
  int64_t peak = 0;
  for (size_t i = 0; i < changes.size(); ++i) {
    level += changes[i].second;
    if (i + 1 < changes.size() && changes[i + 1].first == changes[i].first) continue;
    levels.emplace_back(changes[i].first, level);
    peak = std::max(peak, level);
  }
  for (Block& block : blocks) {
    auto it = std::lower_bound(levels.begin(), levels.end(), std::pair<int64_t, int64_t>(block.first, INT64_MIN));
    for (; it != levels.end() && it->first <= block.last; ++it) block.load = std::max(block.load, it->second);
  }
  return peak;
}

// Places the blocks in the given order, each into the tightest gap among the placed ones that it meets.
Placement place(const std::vector<Block>& blocks, const std::vector<size_t>& order) {
  Placement placement;
  placement.offsets.assign(blocks.size(), 0);
  std::vector<size_t> placed;  // sorted by offset
  for (const size_t index : order) {
    const Block& block = blocks[index];
    int64_t best_offset = -1;
    int64_t best_gap = INT64_MAX;
    int64_t end = 0;  // of the occupied range so far
    for (const size_t other : placed) {
      if (!meets(block, blocks[other])) continue;
      const int64_t gap = placement.offsets[other] - end;
      if (gap >= block.size && gap < best_gap) {
        best_gap = gap;
        best_offset = end;
      }
      end = std::max(end, placement.offsets[other] + blocks[other].size);
    }
    const int64_t offset = best_offset >= 0 ? best_offset : end;
    placement.offsets[index] = offset;
    placement.peak = std::max(placement.peak, offset + block.size);
    const auto position = std::upper_bound(placed.begin(), placed.end(), offset, [&](int64_t value, size_t other) {
      return value < placement.offsets[other];
    });
    placed.insert(position, index);
  }
  return placement;
}

Placement place_best(const std::vector<Block>& blocks, int64_t lower_bound) {
  using Key = std::pair<int64_t, int64_t>;
  constexpr int kOrders = 4;
  const auto key = [](const Block& block, int which) -> Key {
    switch (which) {
      case 0:
        return {-block.size, block.first};
      case 1:
        return {-block.load, -block.size};
      case 2:
        return {-(block.last - block.first), -block.size};
      default:
        return {block.first, -block.size};
    }
  };
  Placement best;
  for (int which = 0; which < kOrders; ++which) {
    std::vector<size_t> order(blocks.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::pair(key(blocks[a], which), a) < std::pair(key(blocks[b], which), b);
    });
    Placement candidate = place(blocks, order);
    if (which == 0 || candidate.peak < best.peak) best = std::move(candidate);
    if (best.peak == lower_bound) break;
  }
  return best;
}

}  // namespace

Result<MemoryPlan> plan_memory(std::span<const MemoryBuffer> buffers, std::span<const InPlaceHint> hints) {
  HAI_TRY_STATUS(check(buffers));
  std::vector<Block> blocks;
  const std::vector<size_t> block_of = merge(buffers, hints, blocks);
  MemoryPlan plan;
  plan.offset_bytes.assign(buffers.size(), 0);
  for (const MemoryRegion region : {MemoryRegion::kPerSample, MemoryRegion::kFixed}) {
    std::vector<Block> chosen;
    std::vector<size_t> chosen_index(buffers.size(), SIZE_MAX);
    for (size_t i = 0; i < blocks.size(); ++i) {
      if (block_of[i] != i || blocks[i].region != region) continue;
      chosen_index[i] = chosen.size();
      chosen.push_back(blocks[i]);
    }
    const int64_t lower_bound = measure_load(chosen);
    const Placement placement = place_best(chosen, lower_bound);
    for (size_t i = 0; i < buffers.size(); ++i) {
      if (buffers[i].region == region) plan.offset_bytes[i] = placement.offsets[chosen_index[block_of[i]]];
    }
    (region == MemoryRegion::kPerSample ? plan.per_sample_bytes : plan.fixed_bytes) = placement.peak;
    (region == MemoryRegion::kPerSample ? plan.per_sample_lower_bound_bytes : plan.fixed_lower_bound_bytes) =
        lower_bound;
  }
  std::vector<Block> all;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (block_of[i] == i) all.push_back(blocks[i]);
  }
  plan.lower_bound_bytes = measure_load(all);
  return plan;
}

}  // namespace hai::passes

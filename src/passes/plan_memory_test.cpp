#include "passes/plan_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace hai::passes {
namespace {

// Two buffers that live at the same time, and do not share by a hint, must not overlap at any batch from 1 to 16.
void expect_disjoint(const std::vector<MemoryBuffer>& buffers, const std::vector<InPlaceHint>& hints,
                     const MemoryPlan& plan) {
  const auto shares = [&](size_t a, size_t b) {
    return std::any_of(hints.begin(), hints.end(), [&](const InPlaceHint& hint) {
      return (hint.output == a && hint.input == b) || (hint.output == b && hint.input == a);
    });
  };
  for (size_t a = 0; a < buffers.size(); ++a) {
    ASSERT_EQ(plan.offset_bytes[a] % kArenaAlignmentBytes, 0);
    const int64_t region_bytes =
        buffers[a].region == MemoryRegion::kPerSample ? plan.per_sample_bytes : plan.fixed_bytes;
    ASSERT_LE(plan.offset_bytes[a] + buffers[a].size_bytes, region_bytes);
    for (size_t b = a + 1; b < buffers.size(); ++b) {
      if (buffers[a].region != buffers[b].region) continue;
      if (buffers[a].size_bytes == 0 || buffers[b].size_bytes == 0) continue;
      if (buffers[a].first > buffers[b].last || buffers[b].first > buffers[a].last) continue;
      if (shares(a, b) && (buffers[a].last == buffers[b].first || buffers[b].last == buffers[a].first)) continue;
      for (int64_t batch = 1; batch <= 16; ++batch) {
        const int64_t n = buffers[a].region == MemoryRegion::kPerSample ? batch : 1;
        const int64_t a_begin = n * plan.offset_bytes[a];
        const int64_t b_begin = n * plan.offset_bytes[b];
        ASSERT_TRUE(a_begin + n * buffers[a].size_bytes <= b_begin || b_begin + n * buffers[b].size_bytes <= a_begin)
            << "buffers " << a << " [" << buffers[a].first << ", " << buffers[a].last << "] " << buffers[a].size_bytes
            << " and " << b << " [" << buffers[b].first << ", " << buffers[b].last << "] " << buffers[b].size_bytes
            << " at batch " << batch;
      }
    }
  }
}

TEST(PlanMemory, EmptyIsZero) {
  const auto plan = plan_memory({});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->per_sample_bytes, 0);
  EXPECT_EQ(plan->fixed_bytes, 0);
}

TEST(PlanMemory, ChainReusesTwoBuffers) {
  std::vector<MemoryBuffer> buffers;
  for (int64_t i = 0; i < 10; ++i) buffers.push_back({1000, i, i + 1, MemoryRegion::kPerSample});
  const auto plan = plan_memory(buffers);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->per_sample_bytes, 2 * 1024);
  EXPECT_EQ(plan->per_sample_lower_bound_bytes, 2 * 1024);
}

TEST(PlanMemory, InPlaceChainUsesOneBuffer) {
  std::vector<MemoryBuffer> buffers;
  std::vector<InPlaceHint> hints;
  for (size_t i = 0; i < 10; ++i) {
    buffers.push_back({1000, static_cast<int64_t>(i), static_cast<int64_t>(i) + 1, MemoryRegion::kPerSample});
    if (i > 0) hints.push_back({i, i - 1});
  }
  const auto plan = plan_memory(buffers, hints);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->per_sample_bytes, 1024);
}

TEST(PlanMemory, HintIsIgnoredWhileTheInputIsStillNeeded) {
  const std::vector<MemoryBuffer> buffers = {{100, 0, 5, MemoryRegion::kPerSample},
                                             {100, 1, 2, MemoryRegion::kPerSample}};
  const auto plan = plan_memory(buffers, std::vector<InPlaceHint>{{1, 0}});
  ASSERT_TRUE(plan);
  EXPECT_NE(plan->offset_bytes[0], plan->offset_bytes[1]);
}

TEST(PlanMemory, RefusesOverflowAndBadLifetimes) {
  const int64_t huge = INT64_MAX / 2 + 1;
  const std::vector<MemoryBuffer> overflow = {{huge, 0, 1, MemoryRegion::kFixed}, {huge, 0, 1, MemoryRegion::kFixed}};
  ASSERT_FALSE(plan_memory(overflow));
  EXPECT_EQ(plan_memory(overflow).error().id, "P001");
  const std::vector<MemoryBuffer> negative = {{-1, 0, 1, MemoryRegion::kFixed}};
  EXPECT_FALSE(plan_memory(negative));
  const std::vector<MemoryBuffer> backwards = {{1, 3, 1, MemoryRegion::kFixed}};
  ASSERT_FALSE(plan_memory(backwards));
  EXPECT_EQ(plan_memory(backwards).error().id, "P002");
}

TEST(PlanMemory, RandomPlansNeverOverlapAndStayNearTheBound) {
  double worst = 1.0;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](int64_t low, int64_t high) {
      return std::uniform_int_distribution<int64_t>(low, high)(random);
    };
    std::vector<MemoryBuffer> buffers;
    std::vector<InPlaceHint> hints;
    const int64_t steps = pick(1, 60);
    for (int64_t step = 0; step < steps; ++step) {
      const int64_t last = std::min(steps, step + (pick(0, 4) == 0 ? pick(0, 20) : pick(0, 2)));
      buffers.push_back({pick(0, 5) == 0 ? 127 : pick(0, 5000), step, last,
                         pick(0, 4) == 0 ? MemoryRegion::kFixed : MemoryRegion::kPerSample});
      if (step > 0 && pick(0, 2) == 0) {
        buffers.back().size_bytes = buffers[buffers.size() - 2].size_bytes;
        hints.push_back({buffers.size() - 1, static_cast<size_t>(pick(0, static_cast<int64_t>(buffers.size()) - 2))});
      }
    }
    const auto plan = plan_memory(buffers, hints);
    ASSERT_TRUE(plan) << "seed " << seed;
    expect_disjoint(buffers, hints, *plan);
    if (HasFatalFailure()) FAIL() << "seed " << seed;
    ASSERT_GE(plan->per_sample_bytes, plan->per_sample_lower_bound_bytes);
    ASSERT_GE(plan->fixed_bytes, plan->fixed_lower_bound_bytes);
    if (plan->per_sample_lower_bound_bytes > 0) {
      worst = std::max(
          worst, static_cast<double>(plan->per_sample_bytes) / static_cast<double>(plan->per_sample_lower_bound_bytes));
    }
    // The plan depends on its input alone.
    EXPECT_EQ(plan_memory(buffers, hints)->offset_bytes, plan->offset_bytes);
  }
  EXPECT_LT(worst, 1.35);  // greedy placement; real networks are at 1.00 to 1.05
}

}  // namespace
}  // namespace hai::passes

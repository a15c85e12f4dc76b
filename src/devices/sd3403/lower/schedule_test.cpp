// Groups, places and spills of small segments.
#include "devices/sd3403/lower/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace hai::sd3403 {
namespace {

// Copies over pictures of `rows` rows of `row_bytes`.
class Chain {
 public:
  explicit Chain(int64_t rows, int64_t row_bytes) : rows_(rows), row_bytes_(row_bytes) {}
  BufferId buffer(std::string name, ir::ValueId input = ir::kNone, ir::ValueId output = ir::kNone) {
    segment.buffers.push_back({std::move(name), rows_, 1, row_bytes_, kI8, input, output, false});
    return static_cast<BufferId>(segment.buffers.size() - 1);
  }
  Slice slice(BufferId id) const {
    Slice out;
    out.buffer = id;
    out.rows = rows_;
    out.channels = row_bytes_;
    out.row_stride = out.pixel_stride = row_bytes_;
    return out;
  }
  void copy(BufferId from, BufferId to) { combine(from, from, to); }
  void combine(BufferId left, BufferId right, BufferId to) {
    Layer layer;
    layer.name = "layer" + std::to_string(segment.layers.size());
    Combine body;
    body.arithmetic = left == right ? kRescale : kAdd;
    layer.body = body;
    layer.reads = {{slice(left), {}}};
    if (left != right) layer.reads.push_back({slice(right), {}});
    layer.writes = slice(to);
    segment.layers.push_back(std::move(layer));
  }

  Segment segment;

 private:
  int64_t rows_, row_bytes_;
};

Machine machine_of(double sram_bytes) {
  Machine machine;
  machine.sram_bytes = sram_bytes;
  return machine;
}

// The layers of a group during which it needs the buffer.
Span span_in(const std::vector<BufferUses>& uses, const Group& group, BufferId buffer) {
  for (const GroupBuffer& own : group.buffers) {
    if (own.buffer == buffer) return span_of(uses[buffer], group, own);
  }
  return {group.begin, group.end - 1};
}

// Buffers that are there at one time do not overlap, and lie inside.
void expect_places_apart(const Segment& segment, const Schedule& plan, int64_t sram_bytes) {
  EXPECT_LE(plan.sram_bytes, sram_bytes);
  EXPECT_GE(plan.sram_bytes, plan.sram_lower_bound_bytes);
  const std::vector<BufferUses> uses = uses_of(segment);
  for (size_t g = 0; g < plan.groups.size(); ++g) {
    const std::vector<Home>& homes = plan.homes[g];
    for (BufferId a = 0; a < homes.size(); ++a) {
      if (homes[a].address < 0) continue;
      const auto end_of = [&](BufferId b) {
        const int64_t rows = homes[b].ring_rows == 0 ? segment.buffers[b].rows : homes[b].ring_rows;
        return homes[b].address + rows * segment.buffers[b].row_bytes();
      };
      EXPECT_LE(end_of(a), sram_bytes);
      for (BufferId b = a + 1; b < homes.size(); ++b) {
        if (homes[b].address < 0) continue;
        const Span one = span_in(uses, plan.groups[g], a);
        const Span other = span_in(uses, plan.groups[g], b);
        if (one.last < other.first || other.last < one.first) continue;
        EXPECT_TRUE(end_of(a) <= homes[b].address || end_of(b) <= homes[a].address) << a << " and " << b;
      }
    }
  }
}

// x -> a -> b -> c -> y, and y adds a.
Chain residual(int64_t rows, int64_t row_bytes) {
  Chain chain(rows, row_bytes);
  const BufferId x = chain.buffer("x", 100);
  const BufferId a = chain.buffer("a");
  const BufferId b = chain.buffer("b");
  const BufferId c = chain.buffer("c");
  const BufferId y = chain.buffer("y", ir::kNone, 101);
  chain.copy(x, a);
  chain.copy(a, b);
  chain.copy(b, c);
  chain.combine(c, a, y);
  return chain;
}

TEST(Schedule, WhatFitsStays) {
  Chain chain = residual(16, 64);
  const auto plan = schedule(chain.segment, machine_of(65536), {});
  ASSERT_TRUE(plan) << plan.error().to_string();
  EXPECT_EQ(plan->groups.front().begin, 0U);
  EXPECT_EQ(plan->groups.back().end, 4U);
  for (size_t g = 1; g < plan->groups.size(); ++g) EXPECT_EQ(plan->groups[g].begin, plan->groups[g - 1].end);
  EXPECT_EQ(plan->scratch_bytes, 0);
  expect_places_apart(chain.segment, *plan, 65536);
}

TEST(Schedule, WithoutCascadesEveryLayerIsAGroup) {
  Chain chain = residual(64, 512);  // buffers of 32 KB
  const auto plan = schedule(chain.segment, machine_of(1 << 20), {false, 0, 0});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->groups.size(), 4U);
  expect_places_apart(chain.segment, *plan, 1 << 20);
}

TEST(Schedule, ACascadeAvoidsSpills) {
  Chain chain = residual(64, 512);
  const auto plan = schedule(chain.segment, machine_of(65536), {});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->scratch_bytes, 0) << "all four layers run in stripes";
  EXPECT_EQ(plan->groups.size(), 1U);
  EXPECT_GT(plan->groups[0].stripes, 1);
  expect_places_apart(chain.segment, *plan, 65536);
}

TEST(Schedule, TheLargestThatIsAliveIsSpilled) {
  Chain chain = residual(64, 512);
  // One layer at a time needs two whole buffers of 32 KB, or parts of them.
  const auto plan = schedule(chain.segment, machine_of(65536), {false, 0, 0});
  ASSERT_TRUE(plan) << plan.error().to_string();
  EXPECT_TRUE(chain.segment.buffers[1].spilled) << "a waits for the last layer";
  const auto spilled = std::count_if(chain.segment.buffers.begin(), chain.segment.buffers.end(),
                                     [](const Buffer& buffer) { return buffer.spilled; });
  EXPECT_EQ(plan->scratch_bytes, 32768 * spilled);
  for (BufferId b = 0; b < chain.segment.buffers.size(); ++b) EXPECT_EQ(plan->scratch_offset[b] % 256, 0);
  expect_places_apart(chain.segment, *plan, 65536);
}

TEST(Schedule, ForcedFormsAreTakenWhereTheyCan) {
  for (const int64_t layers : {1, 2, 3}) {
    for (const int64_t stripes : {2, 3, 5}) {
      Chain chain = residual(16, 64);
      const auto plan = schedule(chain.segment, machine_of(1 << 20), {true, layers, stripes});
      ASSERT_TRUE(plan);
      for (const Group& group : plan->groups) {
        EXPECT_LE(static_cast<int64_t>(group.end - group.begin), layers);
        EXPECT_EQ(group.stripes, stripes);
        EXPECT_EQ(group.halo, Halo::kKept);
      }
      expect_places_apart(chain.segment, *plan, 1 << 20);
      Chain again = residual(16, 64);
      const auto other = schedule(again.segment, machine_of(1 << 20), {true, layers, stripes, HaloChoice::kRecomputed});
      ASSERT_TRUE(other);
      for (const Group& group : other->groups) {
        EXPECT_EQ(group.stripes, stripes);
        EXPECT_EQ(group.halo == Halo::kRecomputed, group.end - group.begin > 1);
      }
      expect_places_apart(again.segment, *other, 1 << 20);
    }
  }
}

// Eight layers whose buffers have 64 rows of 512 bytes.
Chain line() {
  Chain chain(64, 512);
  BufferId last = chain.buffer("x", 100);
  for (int i = 0; i < 8; ++i) {
    const BufferId next = i == 7 ? chain.buffer("y", ir::kNone, 101) : chain.buffer("b" + std::to_string(i));
    chain.copy(last, next);
    last = next;
  }
  return chain;
}

// In 64 stripes two rows of input and of output and one of each of seven between are 11 rows.
TEST(Schedule, AHaloIsRecomputedWhereThatSavesATripToMemory) {
  for (const int64_t rows : {6, 7, 10, 11}) {
    Chain one = line();
    Chain two = line();
    Machine machine = machine_of(static_cast<double>(rows * 512));
    machine.ddr_gigabytes = 1;
    const auto kept = schedule(one.segment, machine, {true, 0, 0, HaloChoice::kKept});
    const auto chosen = schedule(two.segment, machine, {});
    ASSERT_TRUE(kept && chosen);
    expect_places_apart(two.segment, *chosen, rows * 512);
    if (rows == 11) {
      EXPECT_EQ(kept->scratch_bytes, 0);
      EXPECT_EQ(chosen->groups[0].halo, Halo::kKept) << "where both fit, nothing is computed twice";
      continue;
    }
    EXPECT_GT(kept->scratch_bytes, 0);
    for (const Group& group : kept->groups) EXPECT_EQ(group.halo, Halo::kKept);
    EXPECT_EQ(chosen->scratch_bytes, 0);
    ASSERT_EQ(chosen->groups.size(), 1U);
    EXPECT_EQ(chosen->groups[0].halo, Halo::kRecomputed);
    EXPECT_LT(chosen->cycles, kept->cycles);
  }
}

// Three convolutions of 144 KB of weights over pictures of 32 KB: in stripes together each would load its weights for
// every stripe, because the weight cache of a core does not take half of what two have.
TEST(Schedule, SpillsWhereStripesWouldLoadConstantsAgain) {
  Chain chain(16, 16 * 128);
  BufferId last = chain.buffer("x", 100);
  for (const char* name : {"a", "b", "y"}) {
    const BufferId next = chain.buffer(name, ir::kNone, *name == 'y' ? 101 : ir::kNone);
    chain.copy(last, next);
    last = next;
  }
  for (Buffer& buffer : chain.segment.buffers) {
    buffer.columns = 16;
    buffer.channels = 128;
  }
  for (Layer& layer : chain.segment.layers) {
    Convolve body;
    body.input_type = kI8;
    body.input_columns = body.output_columns = 16;
    body.input_channels = 128;
    body.window_rows = body.window_columns = 3;
    layer.body = body;
    layer.constants.window = 9;
    layer.constants.depth = 128;
    layer.reads[0].window = {3, 1, 1, 1, {}, {}};
    for (Slice* slice : {&layer.reads[0].slice, &layer.writes}) {
      slice->columns = 16;
      slice->channels = 128;
      slice->pixel_stride = 128;
    }
  }
  const auto plan = schedule(chain.segment, machine_of(40 << 10), {});
  ASSERT_TRUE(plan) << plan.error().to_string();
  expect_places_apart(chain.segment, *plan, 40 << 10);
  EXPECT_TRUE(chain.segment.buffers[1].spilled && chain.segment.buffers[2].spilled);
  EXPECT_EQ(plan->groups.size(), 3U);
}

TEST(Schedule, HalosHaveNames) {
  EXPECT_EQ(*parse_halo("auto"), HaloChoice::kAuto);
  EXPECT_EQ(*parse_halo("kept"), HaloChoice::kKept);
  EXPECT_EQ(*parse_halo("recomputed"), HaloChoice::kRecomputed);
  EXPECT_EQ(parse_halo("Kept").error().id, "N111");
}

TEST(Schedule, ARowThatDoesNotFitIsNamed) {
  Chain chain = residual(8, 20000);
  const auto plan = schedule(chain.segment, machine_of(32768), {});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().id, "N110");
  for (const std::string_view part : {"layer0", "32768 bytes", "\"a\"", "8 rows of 20000 bytes"}) {
    EXPECT_NE(plan.error().message.find(part), std::string::npos) << part << ": " << plan.error().message;
  }
}

TEST(Schedule, IsTheSameEveryTime) {
  Chain one = residual(64, 512);
  Chain two = residual(64, 512);
  const auto a = schedule(one.segment, machine_of(40000), {});
  const auto b = schedule(two.segment, machine_of(40000), {});
  ASSERT_TRUE(a && b);
  ASSERT_EQ(a->groups.size(), b->groups.size());
  for (size_t g = 0; g < a->homes.size(); ++g) {
    for (size_t i = 0; i < a->homes[g].size(); ++i) EXPECT_EQ(a->homes[g][i].address, b->homes[g][i].address);
  }
}

}  // namespace
}  // namespace hai::sd3403

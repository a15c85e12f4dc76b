// What the search relies on: a bound that no group stays under, and when a group's constants are loaded again.
#include "devices/sd3403/lower/layer_cost.h"

#include <gtest/gtest.h>

namespace hai::sd3403 {
namespace {

// Convolutions of 3x3 over pictures of 16 x 16, one after the other, with so many channels each.
Segment chain(const std::vector<int64_t>& channels) {
  Segment segment;
  for (const int64_t count : channels)
    segment.buffers.push_back({"b", 16, 16, count, kI8, ir::kNone, ir::kNone, false});
  segment.buffers.front().input = 100;
  segment.buffers.back().output = 101;
  const auto slice = [&](BufferId id) {
    Slice out;
    out.buffer = id;
    out.rows = out.columns = 16;
    out.channels = out.pixel_stride = segment.buffers[id].channels;
    out.row_stride = segment.buffers[id].row_bytes();
    return out;
  };
  for (BufferId b = 0; b + 1 < segment.buffers.size(); ++b) {
    Layer layer;
    Convolve body;
    body.input_type = kI8;
    body.input_columns = body.output_columns = 16;
    body.input_channels = channels[b];
    body.window_rows = body.window_columns = 3;
    layer.body = body;
    layer.constants.window = 9;
    layer.constants.depth = channels[b];
    layer.reads = {{slice(b), {3, 1, 1, 1, {}, {}}}};
    layer.writes = slice(b + 1);
    segment.layers.push_back(std::move(layer));
  }
  return segment;
}

TEST(LayerCosts, NoGroupStaysUnderTheBound) {
  const Segment segment = chain({16, 32, 96, 64, 24, 128, 128});
  const std::vector<BufferUses> uses = uses_of(segment);
  Machine machine;
  for (const double rate : {25.6, 1.0}) {
    machine.ddr_gigabytes = rate;
    LayerCosts costs(segment, machine);
    for (LayerId begin = 0; begin < segment.layers.size(); ++begin) {
      for (LayerId end = begin + 1; end <= segment.layers.size(); ++end) {
        const double least = costs.least_cycles(begin, end);
        for (const int64_t stripes : {1, 2, 3, 5, 8, 16}) {
          const Group kept = make_group(segment, uses, begin, end, stripes).value();
          const double cycles = costs.group_cycles(kept);
          EXPECT_GE(cycles, least);
          EXPECT_GE(costs.group_cycles(with_recomputed_halo(segment, uses, kept)), cycles);
        }
      }
    }
  }
}

// A piece of 128 channels on each core has 74752 bytes; an eighth of the cache is kept for tables.
TEST(LayerCosts, ConstantsThatDoNotFitTogetherAreLoadedForEachStripe) {
  const Segment segment = chain({128, 128, 128});
  const std::vector<BufferUses> uses = uses_of(segment);
  const auto loads_again = [&](double cache, LayerId end, int64_t stripes) {
    Machine machine;
    machine.weight_cache_bytes = cache;
    return LayerCosts(segment, machine).loads_again(make_group(segment, uses, 0, end, stripes).value());
  };
  EXPECT_FALSE(loads_again(131072, 1, 4));
  EXPECT_TRUE(loads_again(131072, 2, 4));
  EXPECT_FALSE(loads_again(131072, 2, 1));
  EXPECT_TRUE(loads_again(160000, 2, 4)) << "with the part for tables they would fit";
  EXPECT_FALSE(loads_again(180000, 2, 4));
}

}  // namespace
}  // namespace hai::sd3403

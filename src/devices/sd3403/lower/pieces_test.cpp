// Shares of the cores and pieces of constants cover a layer once, and fit.
#include "devices/sd3403/lower/pieces.h"

#include <gtest/gtest.h>

#include <array>

#include <set>

namespace hai::sd3403 {
namespace {

Layer convolution(int64_t rows, int64_t columns, int64_t in, int64_t out, int64_t window, bool depthwise = false,
                  int64_t type = kI8) {
  Layer layer;
  Convolve c;
  c.connection = depthwise ? kDepthwise : kDense;
  c.input_type = type;
  c.window_rows = window;
  layer.body = c;
  layer.constants.window = window;
  layer.constants.depth = depthwise ? 1 : in;
  layer.constants.weights.resize(static_cast<size_t>(out * window * layer.constants.depth));
  layer.writes.rows = rows;
  layer.writes.columns = columns;
  layer.writes.channels = out;
  Slice from;
  from.channels = in;
  from.type = type;
  layer.reads = {{from, {}}};
  return layer;
}

void expect_covered(const Layer& layer, const std::vector<Share>& shares) {
  int64_t next = 0;
  for (const Share& share : shares) {
    if (share.halves_rows) {
      EXPECT_EQ(share.channels.first, 0);
      EXPECT_EQ(share.channels.count, layer.writes.channels);
    } else {
      EXPECT_EQ(share.channels.first, next);
      EXPECT_EQ(share.channels.first % kBlockChannels, 0);
      EXPECT_GT(share.channels.count, 0);
      next += share.channels.count;
    }
  }
  EXPECT_TRUE(shares[0].halves_rows || next == layer.writes.channels);
}

TEST(Pieces, SharesCoverTheLayer) {
  for (const int64_t rows : {1, 2, 7, 56}) {
    for (const int64_t out : {1, 13, 16, 17, 33, 67, 130}) {
      for (const Split split : {Split::kAuto, Split::kRows, Split::kChannels, Split::kOneCore}) {
        const Layer layer = convolution(rows, 19, 24, out, 9);
        const std::vector<Share> shares = shares_of(layer, {}, split);
        expect_covered(layer, shares);
        const bool alone = split == Split::kOneCore || (rows == 1 && out <= 16);
        EXPECT_EQ(shares.size(), alone ? 1U : 2U);
        EXPECT_TRUE(split != Split::kRows || rows == 1 || shares[1].halves_rows);
        EXPECT_TRUE(split != Split::kChannels || out <= 16 || !shares[1].halves_rows);
      }
    }
  }
  Machine one;
  one.cores = 1;
  EXPECT_EQ(shares_of(convolution(56, 56, 64, 64, 9), one, Split::kAuto).size(), 1U);
  Layer whole = convolution(56, 56, 64, 16, 9);
  whole.by_rows = false;
  EXPECT_EQ(shares_of(whole, {}, Split::kAuto).size(), 1U) << "neither rows nor blocks of channels can be halved";
}

TEST(Pieces, ChunksCoverChannelsAndDepthOnceAndFit) {
  for (const double cache : {4096.0, 16384.0, 131072.0}) {
    Machine machine;
    machine.weight_cache_bytes = cache;
    for (const auto& [in, out, window] : std::initializer_list<std::array<int64_t, 3>>{
             {3, 16, 9}, {64, 64, 9}, {256, 255, 1}, {130, 67, 25}, {1024, 130, 1}, {512, 16, 9}}) {
      const Layer layer = convolution(8, 7, in, out, window);
      std::set<std::pair<int64_t, int64_t>> seen;
      for (const Chunk& chunk : chunks_of(layer, machine, {0, out})) {
        EXPECT_LE(chunk.bytes, static_cast<int64_t>(cache));
        EXPECT_EQ(chunk.bytes, constant_bytes(layer, chunk.channels, chunk.depth, 8));
        // Of 25 taps even 16 input channels are more than 4 KB.
        const bool lanes_idle = window == 25 && cache == 4096.0;
        EXPECT_TRUE(chunk.depth.first % kBlockChannels == 0 || lanes_idle);
        for (int64_t c = chunk.channels.first; c < chunk.channels.first + chunk.channels.count; ++c) {
          for (int64_t d = chunk.depth.first; d < chunk.depth.first + chunk.depth.count; ++d)
            EXPECT_TRUE(seen.insert({c, d}).second) << "channel " << c << ", depth " << d << " twice";
        }
      }
      EXPECT_EQ(static_cast<int64_t>(seen.size()), in * out);
    }
  }
}

TEST(Pieces, ALargeTableLeavesLessForWeights) {
  Layer layer = convolution(8, 8, 64, 256, 9);
  const auto largest = [&] {
    int64_t most = 0;
    for (const Chunk& chunk : chunks_of(layer, {}, {0, 256})) most = std::max(most, chunk.bytes);
    return most;
  };
  const int64_t before = largest();
  layer.constants.table.resize(30000);
  std::get<Convolve>(layer.body).function = kTable;
  EXPECT_FALSE(is_small_table(layer, {}));
  EXPECT_LE(largest(), before);
  EXPECT_LE(largest() + table_bytes(layer), 131072 - table_room({}));
  layer.constants.table.resize(256);
  EXPECT_TRUE(is_small_table(layer, {}));
}

TEST(Pieces, DepthwiseWeightsAreCutByChannelsAlone) {
  Machine machine;
  machine.weight_cache_bytes = 4096;
  const Layer layer = convolution(8, 8, 130, 130, 25, true);
  int64_t next = 0;
  for (const Chunk& chunk : chunks_of(layer, machine, {0, 130})) {
    EXPECT_EQ(chunk.channels.first, next);
    next += chunk.channels.count;
  }
  EXPECT_EQ(next, 130);
}

Layer transformed(int64_t rows, int64_t columns, int64_t in, int64_t out, int64_t transform) {
  Layer layer = convolution(rows, columns, in, out, transform_taps(transform));
  auto& c = std::get<Convolve>(layer.body);
  c.transform = transform;
  c.window_rows = c.window_columns = 3;
  layer.constants.taps.resize(static_cast<size_t>(2 * transform_taps(transform)));
  layer.row_unit = transform_tile(transform);
  return layer;
}

TEST(Pieces, SumsOfTapsWaitInAllOfTheAccumulators) {
  EXPECT_EQ(pixels_in_accumulators(transformed(8, 8, 16, 16, kWinograd4), {}), 28 * 16);  // 64 KB / (36 * 64)
  EXPECT_EQ(pixels_in_accumulators(transformed(8, 8, 16, 16, kWinograd2), {}), 64 * 4);
}

TEST(Pieces, CoresBeginAtTiles) {
  const Layer layer = transformed(20, 20, 16, 16, kWinograd4);
  EXPECT_EQ(first_half(layer, 20), 12);
  EXPECT_EQ(first_half(layer, 7), 4);
  EXPECT_EQ(first_half(layer, 3), 3);
  EXPECT_TRUE(shares_of(layer, {}, Split::kAuto)[1].halves_rows);
  EXPECT_EQ(shares_of(transformed(4, 20, 16, 16, kWinograd4), {}, Split::kAuto).size(), 1U) << "one row of tiles";
}

TEST(Pieces, DeepTapsAreCutAlongTheInputChannels) {
  // 16 * 36 weights a channel: half of the cache beside the tables' room has 57344 bytes.
  const std::vector<Chunk> chunks = chunks_of(transformed(8, 200, 256, 64, kWinograd4), {}, {0, 64});
  ASSERT_EQ(chunks.size(), 4U * 3);
  EXPECT_EQ(chunks[0].channels.count, 16);
  EXPECT_EQ(chunks[0].depth.count, 96);
  EXPECT_EQ(chunks[2].depth.count, 64);
  EXPECT_EQ(chunks[0].bytes, 16 * 36 * 96 + 16 * 16 + 80);  // taps of two bytes, to a multiple of 16
}

TEST(Pieces, TapsOfF16AreCutLikeOthersAndWindowsAreNot) {
  Layer layer = transformed(8, 200, 256, 64, kWinograd2);
  layer.constants.taps.clear();
  layer.reads[0].slice.type = kF16;
  std::get<Convolve>(layer.body).weights = kWeightF16;
  std::vector<Chunk> chunks = chunks_of(layer, {}, {0, 64});
  ASSERT_EQ(chunks.size(), 4U * 3);
  EXPECT_EQ(chunks[0].depth.count, 96);
  EXPECT_EQ(chunks[0].bytes, 2 * 16 * 16 * 96 + 16 * 8);
  std::get<Convolve>(layer.body).transform = kDirect;
  layer.constants.window = 9;
  chunks = chunks_of(layer, {}, {0, 64});
  ASSERT_EQ(chunks.size(), 4U);
  EXPECT_EQ(chunks[0].depth.count, 256);
}

TEST(Pieces, AccumulatorsHoldHalfOfTheirBytes) {
  // 64 KB in two halves, 16 channels of 4 bytes a pixel; of 8 bytes for i16.
  EXPECT_EQ(pixels_in_accumulators(convolution(1, 1, 16, 16, 1), {}), 512);
  EXPECT_EQ(pixels_in_accumulators(convolution(1, 1, 16, 16, 1, false, kI16), {}), 256);
}

}  // namespace
}  // namespace hai::sd3403

// Which neighbours run side by side.
#include "devices/sd3403/lower/branches.h"

#include <gtest/gtest.h>

#include "devices/sd3403/lower/pieces.h"

namespace hai::sd3403 {
namespace {

// Two convolutions of one input, of a window of 1, each with a result of its own.
Segment branches(int64_t rows, int64_t columns, int64_t in, int64_t out) {
  Segment segment;
  for (const char* name : {"x", "a", "b"}) {
    segment.buffers.push_back({name, rows, columns, name[0] == 'x' ? in : out, kI8, ir::kNone, ir::kNone, false});
  }
  const auto slice = [&](BufferId id) {
    Slice part;
    part.buffer = id;
    part.rows = rows;
    part.columns = columns;
    part.channels = segment.buffers[id].channels;
    part.type = kI8;
    part.pixel_stride = part.channels;
    part.row_stride = columns * part.channels;
    return part;
  };
  for (const BufferId to : {BufferId{1}, BufferId{2}}) {
    Layer layer;
    Convolve body;
    body.input_type = kI8;
    body.input_columns = body.output_columns = columns;
    body.input_channels = in;
    layer.body = body;
    layer.constants.depth = in;
    layer.constants.weights.resize(static_cast<size_t>(in * out));
    layer.reads = {{slice(0), {}}};
    layer.writes = slice(to);
    segment.layers.push_back(std::move(layer));
  }
  return segment;
}

TEST(Branches, SmallLayersRunSideBySide) {
  // One row of one block of channels cannot be split at all.
  Segment segment = branches(1, 256, 64, 16);
  EXPECT_EQ(pair_branches(segment, {}), 1);
  for (size_t l = 0; l < 2; ++l) {
    const std::vector<Share> shares = shares_of(segment.layers[l], {}, Split::kAuto);
    ASSERT_EQ(shares.size(), 1U);
    EXPECT_EQ(shares[0].core, static_cast<int64_t>(l));
    EXPECT_EQ(shares[0].channels.count, 16);
  }
}

TEST(Branches, LargeLayersAreSplit) {
  Segment segment = branches(56, 56, 64, 64);
  EXPECT_EQ(pair_branches(segment, {}), 0);
  EXPECT_FALSE(segment.layers[0].core);
  EXPECT_EQ(pair_branches(segment, {}, true), 1) << "tests can ask for it";
}

TEST(Branches, WhatNeedsTheOtherComesAfterIt) {
  Segment segment = branches(1, 1, 16, 16);
  segment.layers[1].reads[0].slice.buffer = 1;
  EXPECT_EQ(pair_branches(segment, {}, true), 0);
}

TEST(Branches, OneCoreHasNoSideBySide) {
  Machine machine;
  machine.cores = 1;
  Segment segment = branches(1, 256, 64, 16);
  EXPECT_EQ(pair_branches(segment, machine), 0);
}

}  // namespace
}  // namespace hai::sd3403

// Views: what moves nothing, what is copied, and where concatenations are written.
#include "devices/sd3403/lower/segment_builder.h"

#include <gtest/gtest.h>

#include <map>

#include "passes/testing/graph_builder.h"

namespace hai::sd3403 {
namespace {

using passes::testing::GraphBuilder;
using Ints = std::vector<int64_t>;

// The element that an index of the view names, counted row-major over its sizes.
int64_t element(const View& view, int64_t index) {
  int64_t at = view.offset;
  for (size_t i = view.dims.size(); i-- > 0;) {
    at += index % view.dims[i] * view.strides[i];
    index /= view.dims[i];
  }
  return at;
}
int64_t count(const View& view) {
  int64_t product = 1;
  for (const int64_t dim : view.dims) product *= dim;
  return product;
}

TEST(Views, ReshapedViewsNameTheSameElements) {
  const View views[] = {
      {0, 0, {6, 4, 8}, {32, 8, 1}},    // dense
      {0, 5, {6, 4, 8}, {64, 16, 2}},   // every second channel
      {0, 3, {6, 4, 8}, {100, 16, 1}},  // pixels apart, rows apart
      {0, 0, {4, 6, 8}, {8, 32, 1}},    // rows and columns change places
      {0, 7, {6, 1, 8}, {40, 1, 1}},    // an axis of 1
  };
  const Ints shapes[] = {{192},      {24, 8},     {6, 32}, {6, 4, 2, 4}, {2, 3, 4, 8}, {6, 2, 2, 8},
                         {3, 2, 32}, {1, 192, 1}, {48},    {6, 8},       {2, 3, 8},    {12, 16}};
  int possible = 0;
  for (const View& view : views) {
    for (const Ints& dims : shapes) {
      int64_t wanted = 1;
      for (const int64_t dim : dims) wanted *= dim;
      if (wanted != count(view)) continue;
      const auto out = reshaped(view, dims);
      if (!out) continue;
      ++possible;
      EXPECT_EQ(out->dims, dims);
      for (int64_t i = 0; i < wanted; ++i) ASSERT_EQ(element(*out, i), element(view, i));
    }
  }
  EXPECT_GE(possible, 20);
}

TEST(Views, WhatNoStridesSayIsNone) {
  EXPECT_FALSE(reshaped({0, 0, {4, 6, 8}, {8, 32, 1}}, {24, 8})) << "rows and columns have changed places";
  EXPECT_FALSE(reshaped({0, 0, {6, 4}, {8, 1}}, {3, 8}));
  EXPECT_TRUE(reshaped({0, 0, {6, 4}, {8, 1}}, {3, 2, 4}));
  EXPECT_TRUE(reshaped({0, 0, {6, 4}, {8, 1}}, {6, 2, 2}));
}

class Segments : public GraphBuilder {
 public:
  Segments() {
    graph.symbols = {{"batch", 1, 16}};
    q = quantization();
    x = input({Dim(1, 0), Dim(6), Dim(4), Dim(8)}, q);
  }
  ir::ValueId conv(ir::ValueId from, int64_t out, const Quantization& y) {
    const int64_t in = shape(from)[3].value;
    return node("conv2d", {from, weights_i8({out, 1, 1, in}, 0)}, {}, y);
  }
  Segment build(std::vector<ir::ValueId> outputs) {
    for (const ir::ValueId value : outputs) graph.add_output(value);
    nodes_ = graph.ordered().value();
    nodes_.erase(nodes_.begin(), nodes_.begin() + first);
    auto segment = SegmentBuilder(graph, nodes_).run();
    EXPECT_TRUE(segment) << segment.error().to_string();
    return std::move(*segment);
  }
  static std::vector<std::string> ops(const Segment& segment) {
    std::vector<std::string> out;
    for (const Layer& layer : segment.layers) out.push_back(layer.op);
    return out;
  }

  Quantization q;
  ir::ValueId x;
  std::ptrdiff_t first = 0;  // nodes before it stay outside of the segment

 private:
  std::vector<ir::NodeId> nodes_;
};

using Names = std::vector<std::string>;

TEST(Segments, SplitsAndSlicesOfChannelsMoveNothing) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 16, s.quantization());
  const auto parts = s.nodes("split", {a}, {{"axis", int64_t{3}}, {"sizes", Ints{6, 10}}}, {}, 2);
  const Segment segment = s.build({s.conv(parts[0], 4, s.q), s.conv(parts[1], 4, s.q)});
  EXPECT_EQ(Segments::ops(segment), (Names{"conv2d", "conv2d", "conv2d"}));
  EXPECT_EQ(segment.layers[2].reads[0].slice.offset_bytes, 6);
  EXPECT_EQ(segment.layers[2].reads[0].slice.channels, 10);
  EXPECT_EQ(segment.layers[2].reads[0].slice.pixel_stride, 16);
  EXPECT_FALSE(segment.layers[2].reads[0].slice.whole);
}

TEST(Segments, AConcatenationOfItsScaleIsWrittenInPlace) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 3, s.q);
  const ir::ValueId b = s.conv(s.x, 5, s.q);
  const ir::ValueId inner = s.node("concat", {a, b}, {{"axis", int64_t{3}}}, s.q);
  const ir::ValueId c = s.conv(s.x, 4, s.q);
  const ir::ValueId outer = s.node("concat", {c, inner}, {{"axis", int64_t{-1}}}, s.q);
  const Segment segment = s.build({outer});
  EXPECT_EQ(Segments::ops(segment), (Names{"conv2d", "conv2d", "conv2d"}));
  std::map<int64_t, int64_t> offsets;  // by channels
  for (const Layer& layer : segment.layers) {
    EXPECT_EQ(layer.writes.buffer, segment.layers[0].writes.buffer);
    EXPECT_EQ(layer.writes.pixel_stride, 12);
    offsets[layer.writes.channels] = layer.writes.offset_bytes;
  }
  EXPECT_EQ(offsets, (std::map<int64_t, int64_t>{{4, 0}, {3, 4}, {5, 7}}));
  EXPECT_EQ(segment.buffers[segment.layers[0].writes.buffer].output, outer);
}

TEST(Segments, AChainMayBeginOutsideOfItsSegment) {
  Segments s;
  const ir::ValueId wide = s.wide_node("silu", {s.x}, s.quantization());
  const ir::ValueId y = s.wide_node("tanh", {wide}, s.quantization());
  s.first = 1;  // the first function runs elsewhere
  const Segment segment = s.build({y});
  ASSERT_EQ(Segments::ops(segment), (Names{"tanh"}));
  EXPECT_EQ(segment.inputs, (std::vector<ir::ValueId>{wide, s.x}));
  EXPECT_EQ(segment.layers[0].constants.table.size(), 256U);
  EXPECT_EQ(segment.buffers[segment.layers[0].reads[0].slice.buffer].input, s.x);
}

TEST(Segments, OtherScalesAndInputsAreMoved) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 8, s.quantization());
  const Segment segment = s.build({s.node("concat", {a, s.x}, {{"axis", int64_t{3}}}, s.q)});
  // The first is rescaled into its place, the second copied, since it is the segment's input.
  EXPECT_EQ(Segments::ops(segment), (Names{"conv2d", "concat", "copy"}));
  EXPECT_EQ(std::get<Combine>(segment.layers[1].body).arithmetic, kRescale);
}

TEST(Segments, ATensorOfTwoConcatenationsIsWrittenOnce) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 8, s.q);
  const ir::ValueId b = s.conv(s.x, 8, s.q);
  const ir::ValueId one = s.node("concat", {a, b}, {{"axis", int64_t{3}}}, s.q);
  const ir::ValueId two = s.node("concat", {b, a}, {{"axis", int64_t{3}}}, s.q);
  const Segment segment = s.build({one, two});
  EXPECT_EQ(Segments::ops(segment), (Names{"conv2d", "conv2d", "copy", "copy"}));
}

TEST(Segments, ATransposedTensorIsCopiedWhereItsChannelsAreApart) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 8, s.q);
  const ir::ValueId turned = s.transpose(a, {0, 2, 1, 3});  // rows and columns: channels stay together
  const ir::ValueId apart = s.transpose(a, {0, 3, 1, 2});
  const Segment segment = s.build({s.conv(turned, 8, s.q), s.conv(apart, 8, s.q)});
  EXPECT_EQ(Segments::ops(segment), (Names{"conv2d", "conv2d", "copy", "conv2d"}));
  EXPECT_TRUE(segment.layers[1].reads[0].slice.whole);
  EXPECT_EQ(segment.layers[1].reads[0].slice.row_stride, 8);
  EXPECT_EQ(segment.layers[1].reads[0].slice.pixel_stride, 32);
  EXPECT_FALSE(segment.layers[2].by_rows);
}

TEST(Segments, AShuffleOfChannelsIsReadByCopies) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 8, s.q);
  const ir::ValueId apart = s.node("reshape", {a}, {{"shape", Ints{0, 6, 4, 2, 4}}});
  const ir::ValueId turned = s.transpose(apart, {0, 1, 2, 4, 3});
  const ir::ValueId whole = s.node("reshape", {turned}, {{"shape", Ints{0, 6, 4, 8}}});
  const Segment segment = s.build({s.conv(whole, 8, s.q)});
  const Names ops = Segments::ops(segment);
  EXPECT_EQ(ops.front(), "conv2d");
  EXPECT_EQ(ops.back(), "conv2d");
  for (size_t i = 1; i + 1 < ops.size(); ++i) EXPECT_EQ(ops[i], "copy");
}

// Of four axes in another order, so that it has to be copied.
TEST(Segments, AnOutputOfManyAxesHasRoomForAll) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 6, s.q);
  const ir::ValueId split = s.node("reshape", {a}, {{"shape", Ints{0, 6, 4, 2, 3}}});
  const Segment segment = s.build({s.transpose(split, {0, 1, 2, 4, 3})});
  const auto made = std::find_if(segment.buffers.begin(), segment.buffers.end(),
                                 [](const Buffer& buffer) { return buffer.output != ir::kNone; });
  ASSERT_NE(made, segment.buffers.end());
  EXPECT_EQ(made->bytes(), 6 * 4 * 2 * 3);
}

// Two heads of 4 channels: split off, multiplied, joined again, and no element moves.
TEST(Segments, HeadsOfAttentionAreViews) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 24, s.q);
  const ir::ValueId flat = s.node("reshape", {a}, {{"shape", Ints{0, 24, 3, 2, 4}}});
  const auto parts = s.nodes("split", {flat}, {{"axis", int64_t{2}}, {"sizes", Ints{1, 1, 1}}}, {}, 3);
  const auto heads = [&](size_t part, const Ints& order) {
    return s.transpose(s.node("reshape", {parts[part]}, {{"shape", Ints{0, 24, 2, 4}}}), order);
  };
  const ir::ValueId scores = s.node("matmul", {heads(0, {0, 2, 1, 3}), heads(1, {0, 2, 3, 1})}, {}, s.q);
  const ir::ValueId mixed = s.node("matmul", {scores, heads(2, {0, 2, 1, 3})}, {}, s.q);
  const ir::ValueId back = s.transpose(mixed, {0, 2, 1, 3});
  const ir::ValueId whole = s.node("reshape", {back}, {{"shape", Ints{0, 6, 4, 8}}});
  const Segment segment = s.build({s.conv(whole, 4, s.q)});
  EXPECT_EQ(Segments::ops(segment), (Names{"conv2d", "matmul", "matmul", "matmul", "matmul", "conv2d"}));
  const Layer& first = segment.layers[1];
  EXPECT_EQ(first.reads[0].slice.offset_bytes, 0);
  EXPECT_EQ(first.reads[1].slice.offset_bytes, 8);
  EXPECT_TRUE(first.reads[1].slice.whole) << "all of it is packed at once";
  EXPECT_EQ(first.pack->transposes, 1);
  EXPECT_EQ(first.constants.depth, 4);
  EXPECT_EQ(segment.layers[2].reads[0].slice.offset_bytes, 4);
  const Layer& last = segment.layers[4];
  EXPECT_EQ(last.pack->transposes, 0);
  EXPECT_EQ(last.reads[1].slice.offset_bytes, 20);
  EXPECT_EQ(last.writes.row_stride, 8) << "beside the other head";
  EXPECT_EQ(last.writes.offset_bytes, 4);
}

TEST(Segments, AConstantIsOneBufferForAllItsReaders) {
  Segments s;
  const ir::ValueId a = s.conv(s.x, 8, s.q);
  const std::vector<std::byte> bytes(8, std::byte{3});
  const ir::ValueId k = s.graph.add_constant("k", {DataType::kI8, {Dim(1), Dim(1), Dim(1), Dim(8)}, s.q},
                                             ir::ConstantData::copy_of(std::span<const std::byte>(bytes)));
  const ir::ValueId sum = s.node("add", {k, a}, {}, s.quantization());
  const Segment segment = s.build({s.node("mul", {sum, k}, {}, s.quantization())});
  EXPECT_EQ(Segments::ops(segment), (Names{"conv2d", "add", "mul"}));
  const Slice& one = segment.layers[1].reads[1].slice;
  EXPECT_EQ(one.buffer, segment.layers[2].reads[1].slice.buffer);
  EXPECT_EQ(one.row_stride, 0);
  EXPECT_EQ(one.pixel_stride, 0);
  EXPECT_TRUE(segment.buffers[one.buffer].is_given());
  EXPECT_EQ(segment.buffers[one.buffer].bytes(), 8);
  EXPECT_EQ(segment.inputs, (std::vector<ir::ValueId>{s.x})) << "a constant is no input";
}

TEST(Segments, AnOutputThatViewsAnInputIsCopied) {
  Segments s;
  const ir::ValueId view = s.node("reshape", {s.x}, {{"shape", Ints{0, 24, 8}}});
  const Segment segment = s.build({view});
  EXPECT_EQ(Segments::ops(segment), (Names{"copy"}));
  EXPECT_EQ(segment.inputs, (std::vector<ir::ValueId>{s.x}));
  EXPECT_EQ(segment.outputs, (std::vector<ir::ValueId>{view}));
}

}  // namespace
}  // namespace hai::sd3403

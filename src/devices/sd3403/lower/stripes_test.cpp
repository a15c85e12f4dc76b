// Stripes of small groups, worked out by hand beside them: rows that are done, halos, rings, and how buffers are kept.
#include "devices/sd3403/lower/stripes.h"

#include <gtest/gtest.h>

namespace hai::sd3403 {
namespace {

class Builder {
 public:
  BufferId buffer(int64_t rows, ir::ValueId input = ir::kNone, ir::ValueId output = ir::kNone) {
    segment.buffers.push_back({"b" + std::to_string(segment.buffers.size()), rows, 4, 8, kI8, input, output, false});
    return static_cast<BufferId>(segment.buffers.size() - 1);
  }
  Slice slice(BufferId id, int64_t first_row = 0, int64_t rows = 0) const {
    const Buffer& buffer = segment.buffers[id];
    Slice out;
    out.buffer = id;
    out.rows = rows == 0 ? buffer.rows : rows;
    out.columns = 4;
    out.channels = 8;
    out.first_row = first_row;
    out.row_stride = buffer.row_bytes();
    out.pixel_stride = 8;
    return out;
  }
  void layer(std::vector<Operand> reads, Slice writes) {
    Layer layer;
    layer.body = Copy{};
    layer.reads = std::move(reads);
    layer.writes = writes;
    segment.layers.push_back(std::move(layer));
  }
  std::optional<Group> group(int64_t stripes, LayerId begin = 0, LayerId end = 0) const {
    const auto last = end == 0 ? static_cast<LayerId>(segment.layers.size()) : end;
    return make_group(segment, uses_of(segment), begin, last, stripes);
  }
  Group recomputed(int64_t stripes) const {
    return with_recomputed_halo(segment, uses_of(segment), group(stripes).value());
  }

  Segment segment;
};

const RowWindow kThree{3, 1, 1, 1, {}, {}};  // 3 rows, padded by one

const GroupBuffer* find(const Group& group, BufferId id) {
  for (const GroupBuffer& own : group.buffers) {
    if (own.buffer == id) return &own;
  }
  return nullptr;
}

// input 12 -> 3x3 -> 12 -> 3x3 -> output 12
Builder two_windows() {
  Builder b;
  const BufferId x = b.buffer(12, 100);
  const BufferId middle = b.buffer(12);
  const BufferId y = b.buffer(12, ir::kNone, 101);
  b.layer({{b.slice(x), kThree}}, b.slice(middle));
  b.layer({{b.slice(middle), kThree}}, b.slice(y));
  return b;
}

TEST(Stripes, HalosAreComputedOnceAndAhead) {
  const Builder b = two_windows();
  const auto group = b.group(3);
  ASSERT_TRUE(group);
  // Four rows of the result read up to row 4 of the middle: five rows, and those read up to row 5 of the input.
  EXPECT_EQ(group->done[1], (std::vector<int64_t>{4, 8, 12}));
  EXPECT_EQ(group->done[0], (std::vector<int64_t>{5, 9, 12}));
  const auto uses = uses_of(b.segment);
  EXPECT_EQ(rows_read(b.segment, uses[0], *group, 0, 0), 6);
  EXPECT_EQ(rows_read(b.segment, uses[0], *group, 0, 1), 10);
  EXPECT_EQ(rows_read(b.segment, uses[0], *group, 0, 2), 12);
  EXPECT_EQ(first_row_read(b.segment, uses[1], *group, 1, 1), 3);  // row 4 of the result reads from row 3
  EXPECT_EQ(rows_written(b.segment, uses[2], *group, 2, 1), 8);
}

TEST(Stripes, TilesAreWhole) {
  Builder b = two_windows();
  for (Layer& layer : b.segment.layers) layer.row_unit = 4;
  const auto group = b.group(3);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->done[1], (std::vector<int64_t>{4, 8, 12}));
  EXPECT_EQ(group->done[0], (std::vector<int64_t>{8, 12, 12}));  // of 5, 9 and 12 rows that are read
  b.segment.layers[1].row_unit = 5;
  EXPECT_EQ(b.group(3)->done[1], (std::vector<int64_t>{5, 10, 12}));
}

TEST(Stripes, RingsHoldWhatIsAlive) {
  const auto group = two_windows().group(3);
  ASSERT_TRUE(group);
  // In the second stripe rows 3 to 8 of the middle are there.
  EXPECT_EQ(find(*group, 1)->keep, Keep::kInside);
  EXPECT_EQ(find(*group, 1)->ring_rows, 6);
  EXPECT_EQ(find(*group, 1)->bytes, 6 * 32);
  // The input is loaded a stripe ahead: rows 0 to 9 in the first one. The result is stored a stripe behind.
  EXPECT_EQ(find(*group, 0)->keep, Keep::kLoaded);
  EXPECT_EQ(find(*group, 0)->ring_rows, 10);
  EXPECT_EQ(find(*group, 2)->keep, Keep::kStored);
  EXPECT_EQ(find(*group, 2)->ring_rows, 8);
  EXPECT_EQ(group->own_bytes, (6 + 10 + 8) * 32);
}

using Rows = std::pair<int64_t, int64_t>;

std::vector<Rows> rows_of(const Group& group, LayerId layer) {
  std::vector<Rows> out;
  for (int64_t s = 0; s < group.stripes; ++s) out.emplace_back(group.first_row(layer, s), group.last_row(layer, s));
  return out;
}

TEST(Stripes, ARecomputedStripeMakesAllThatItReads) {
  const Builder b = two_windows();
  const Group group = b.recomputed(3);
  EXPECT_EQ(rows_of(group, 1), (std::vector<Rows>{{0, 4}, {4, 8}, {8, 12}}));
  // Rows 4 to 7 read rows 3 to 8 of the middle, rows 8 to 11 its rows 7 to 11.
  EXPECT_EQ(rows_of(group, 0), (std::vector<Rows>{{0, 5}, {3, 9}, {7, 12}}));
  EXPECT_EQ(group.first_new_row(0, 1), 5);
  EXPECT_EQ(find(group, 1)->ring_rows, 6) << "of the second stripe";
  // The input is loaded once: the second stripe still reads row 2 of it.
  EXPECT_EQ(first_row_read(b.segment, uses_of(b.segment)[0], group, 0, 1), 2);
  EXPECT_EQ(rows_read(b.segment, uses_of(b.segment)[0], group, 0, 0), 6);
  EXPECT_EQ(find(group, 0)->ring_rows, 10);
}

TEST(Stripes, RecomputedTilesBeginAtWholeOnes) {
  Builder b = two_windows();
  for (Layer& layer : b.segment.layers) layer.row_unit = 4;
  const Group group = b.recomputed(3);
  EXPECT_EQ(rows_of(group, 1), (std::vector<Rows>{{0, 4}, {4, 8}, {8, 12}}));
  EXPECT_EQ(rows_of(group, 0), (std::vector<Rows>{{0, 8}, {0, 12}, {4, 12}}));  // from 0, 3 and 7, which are read
}

// x -> a -> b -> 3x3 -> c -> y, all of 12 rows
TEST(Stripes, RecomputedBuffersShareTheirPlace) {
  Builder b;
  std::vector<BufferId> at = {b.buffer(12, 100), b.buffer(12), b.buffer(12), b.buffer(12),
                              b.buffer(12, ir::kNone, 101)};
  for (size_t i = 0; i + 1 < at.size(); ++i)
    b.layer({{b.slice(at[i]), i == 2 ? kThree : RowWindow{}}}, b.slice(at[i + 1]));
  const Group kept = b.group(3).value();
  const Group group = b.recomputed(3);
  EXPECT_EQ(rows_of(kept, 0), (std::vector<Rows>{{0, 5}, {5, 9}, {9, 12}}));
  EXPECT_EQ(rows_of(group, 0), (std::vector<Rows>{{0, 5}, {3, 9}, {7, 12}}));
  const auto rings = [&](const Group& of) {
    std::vector<int64_t> rows;
    for (const BufferId id : at) rows.push_back(find(of, id)->ring_rows);
    return rows;
  };
  EXPECT_EQ(rings(kept), (std::vector<int64_t>{9, 5, 6, 4, 8}));
  EXPECT_EQ(rings(group), (std::vector<int64_t>{9, 6, 6, 4, 8}));
  // Rows of 32 bytes, places in units of 64.
  EXPECT_EQ(kept.own_bytes, (10 + 6 + 6 + 4 + 8) * 32);
  EXPECT_EQ(group.own_bytes, (10 + 8 + 6 + 6) * 32) << "never more than two of a, b and c at one time";
  const auto uses = uses_of(b.segment);
  const auto span = [&](BufferId id) {
    const Span of = span_of(uses[id], group, *find(group, id));
    return std::pair(of.first, of.last);
  };
  EXPECT_EQ(span(at[0]), std::pair(LayerId{0}, LayerId{3})) << "what is loaded is there throughout";
  EXPECT_EQ(span(at[1]), std::pair(LayerId{0}, LayerId{1}));
  EXPECT_EQ(span(at[2]), std::pair(LayerId{1}, LayerId{2}));
  EXPECT_EQ(span(at[3]), std::pair(LayerId{2}, LayerId{3}));
}

TEST(Stripes, WhatLeavesTheGroupIsMadeOnce) {
  Builder b = two_windows();
  b.segment.buffers[1].output = 102;
  const Group group = b.recomputed(3);
  EXPECT_EQ(find(group, 1)->keep, Keep::kStored);
  EXPECT_EQ(rows_of(group, 0), (std::vector<Rows>{{0, 5}, {5, 9}, {9, 12}}));
}

TEST(Stripes, ABorderIsFilledAgainUnderItsPicture) {
  Builder b;
  const BufferId x = b.buffer(8, 100);
  const BufferId padded = b.buffer(12);
  const BufferId y = b.buffer(10, ir::kNone, 101);
  b.layer({}, b.slice(padded));
  b.layer({{b.slice(x), {}}}, b.slice(padded, 2, 8));  // rows 2 to 9
  b.layer({{b.slice(padded), {3, 1, 1, 0, {}, {}}}}, b.slice(y));
  const Group group = b.recomputed(2);
  EXPECT_EQ(rows_of(group, 2), (std::vector<Rows>{{0, 5}, {5, 10}}));
  EXPECT_EQ(rows_of(group, 0), (std::vector<Rows>{{0, 7}, {5, 12}}));
  EXPECT_EQ(rows_of(group, 1), (std::vector<Rows>{{0, 5}, {3, 8}}));
}

TEST(Stripes, RowsThatAreDoneAreMadeAgainForALaterReader) {
  Builder b;
  const BufferId x = b.buffer(2, 100);
  const BufferId middle = b.buffer(2);
  const BufferId y = b.buffer(8, ir::kNone, 101);
  RowWindow window;
  window.first = window.last = {0, 0, 0, 0, 1, 1, 1, 1};
  b.layer({{b.slice(x), {}}}, b.slice(middle));
  b.layer({{b.slice(middle), window}}, b.slice(y));
  EXPECT_EQ(rows_of(b.group(4).value(), 0), (std::vector<Rows>{{0, 1}, {1, 1}, {1, 2}, {2, 2}}));
  EXPECT_EQ(rows_of(b.recomputed(4), 0), (std::vector<Rows>{{0, 1}, {0, 1}, {1, 2}, {1, 2}}));
}

TEST(Stripes, ARingThatWouldHoldAllIsNone) {
  const auto group = two_windows().group(1);
  ASSERT_TRUE(group);
  for (const GroupBuffer& own : group->buffers) {
    EXPECT_EQ(own.ring_rows, 0);
    EXPECT_EQ(own.bytes, 12 * 32);
  }
}

TEST(Stripes, RowsThatNoWindowReachesNeedRoomToo) {
  Builder b;
  const BufferId x = b.buffer(9, 100);
  const BufferId middle = b.buffer(9);
  const BufferId y = b.buffer(3, ir::kNone, 101);
  b.layer({{b.slice(x), {}}}, b.slice(middle));
  b.layer({{b.slice(middle), {1, 4, 1, 0, {}, {}}}}, b.slice(y));  // rows 0, 4, 8
  const auto group = b.group(3);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->done[0], (std::vector<int64_t>{1, 5, 9}));
  // The second stripe writes rows 1 to 4 in one go, of which only row 4 is read.
  EXPECT_EQ(find(*group, 1)->ring_rows, 4);
}

TEST(Stripes, ResizeReadsTheRowsOfItsTable) {
  Builder b;
  const BufferId x = b.buffer(4, 100);
  const BufferId y = b.buffer(8, ir::kNone, 101);
  RowWindow window;
  window.first = {0, 0, 0, 1, 1, 2, 2, 3};
  window.last = {0, 1, 1, 2, 2, 3, 3, 3};
  b.layer({{b.slice(x), window}}, b.slice(y));
  const auto group = b.group(4);
  ASSERT_TRUE(group);
  const auto uses = uses_of(b.segment);
  EXPECT_EQ(rows_read(b.segment, uses[0], *group, 0, 0), 2);
  EXPECT_EQ(rows_read(b.segment, uses[0], *group, 0, 1), 3);
  EXPECT_EQ(first_row_read(b.segment, uses[0], *group, 0, 2), 1);
}

TEST(Stripes, APictureIsWrittenAfterItsBorder) {
  Builder b;
  const BufferId x = b.buffer(8, 100);
  const BufferId y = b.buffer(12, ir::kNone, 101);
  b.layer({}, b.slice(y));                        // fills all rows
  b.layer({{b.slice(x), {}}}, b.slice(y, 3, 8));  // rows 3 to 10
  const auto group = b.group(4);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->done[0], (std::vector<int64_t>{3, 6, 9, 12}));
  EXPECT_EQ(group->done[1], (std::vector<int64_t>{0, 3, 6, 8}));
  const auto uses = uses_of(b.segment);
  EXPECT_EQ(rows_written(b.segment, uses[1], *group, 1, 1), 6);
}

TEST(Stripes, SomeLayersNeedAllRowsAtOnce) {
  Builder b = two_windows();
  b.segment.layers[0].by_rows = false;
  EXPECT_FALSE(b.group(3));
  EXPECT_TRUE(b.group(1));
  EXPECT_TRUE(b.group(3, 1, 2)) << "the other one can still run in stripes";
  b = two_windows();
  b.segment.layers[1].reads[0].slice.whole = true;
  EXPECT_FALSE(b.group(2));
  EXPECT_FALSE(two_windows().group(13)) << "more stripes than rows";
  EXPECT_TRUE(two_windows().group(12));
}

TEST(Stripes, WhatOtherGroupsReadIsResidentOrStored) {
  Builder b = two_windows();
  const auto first = b.group(1, 0, 1);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->resident, (std::vector<BufferId>{1}));
  EXPECT_EQ(first->buffers.size(), 1U);
  b.segment.buffers[1].spilled = true;
  EXPECT_EQ(find(*b.group(1, 0, 1), 1)->keep, Keep::kStored);
  EXPECT_EQ(find(*b.group(1, 1, 2), 1)->keep, Keep::kLoaded);
  EXPECT_EQ(find(*b.group(2), 1)->keep, Keep::kInside) << "in one group it never leaves";
}

// Pooling between two parts of a concatenation: what it reads of the buffer is not what it writes.
TEST(Stripes, ALayerWithinOneBufferMakesItsRowsEvenly) {
  Builder b;
  const BufferId x = b.buffer(12, 100);
  const BufferId joined = b.buffer(12);
  const BufferId y = b.buffer(12, ir::kNone, 101);
  b.layer({{b.slice(x), {}}}, b.slice(joined));
  b.layer({{b.slice(joined), kThree}}, b.slice(joined));
  b.layer({{b.slice(joined), {}}}, b.slice(y));
  b.segment.buffers[joined].spilled = true;
  const auto group = b.group(3, 1, 2);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->done[0], (std::vector<int64_t>{4, 8, 12}));
  const GroupBuffer* own = find(*group, joined);
  ASSERT_NE(own, nullptr);
  EXPECT_EQ(own->keep, Keep::kUpdated);
  // Rows 3 to 12 are alive in the second stripe: 3 is read, 9 to 12 come for the third.
  EXPECT_EQ(own->ring_rows, 9);
}

// A border, then a picture on it that was read a row further up in the same buffer: no row of the border may come after
// the picture's.
TEST(Stripes, ABorderIsNeverBehindThePictureOnIt) {
  Builder b;
  const BufferId joined = b.buffer(12, ir::kNone, 100);
  b.layer({}, b.slice(joined));
  b.layer({{b.slice(joined, 0, 11), {}}}, b.slice(joined, 1, 11));
  const auto group = b.group(3);
  ASSERT_TRUE(group);
  EXPECT_EQ(group->done[1], (std::vector<int64_t>{3, 7, 11}));  // rows 1 to 3 of the buffer, to 7, to 11
  EXPECT_EQ(group->done[0], (std::vector<int64_t>{4, 8, 12}));
  b.segment.layers[1].row_unit = 4;
  EXPECT_EQ(b.group(3)->done[1], (std::vector<int64_t>{4, 8, 11}));
  EXPECT_EQ(b.group(3)->done[0], (std::vector<int64_t>{5, 9, 12}));
}

TEST(Stripes, ASpilledBufferOfSeveralGroupsIsStoredInParts) {
  Builder b;
  const BufferId x = b.buffer(6, 100);
  const BufferId y = b.buffer(12);
  const BufferId z = b.buffer(12, ir::kNone, 101);
  b.layer({{b.slice(x), {}}}, b.slice(y, 0, 6));
  b.layer({{b.slice(y, 0, 6), {}}}, b.slice(y, 6, 6));  // reads one half, writes the other
  b.layer({{b.slice(y), {}}}, b.slice(z));
  b.segment.buffers[y].spilled = true;
  const auto first = b.group(1, 0, 1);
  EXPECT_EQ(find(*first, y)->keep, Keep::kStored);
  EXPECT_TRUE(find(*first, y)->in_parts);
  const auto second = b.group(1, 1, 2);
  EXPECT_EQ(find(*second, y)->keep, Keep::kUpdated);
  EXPECT_TRUE(find(*second, y)->in_parts);
  EXPECT_TRUE(find(*second, y)->is_loaded());
  const auto both = b.group(2, 0, 2);
  EXPECT_EQ(find(*both, y)->keep, Keep::kStored);
  EXPECT_FALSE(find(*both, y)->in_parts);
  EXPECT_EQ(find(*b.group(1, 2, 3), y)->keep, Keep::kLoaded);
}

}  // namespace
}  // namespace hai::sd3403

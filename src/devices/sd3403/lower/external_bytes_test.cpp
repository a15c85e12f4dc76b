// Distinct bytes, counted by hand: what is read twice, in rows with gaps, and what lies in the scratch image.
#include "devices/sd3403/lower/external_bytes.h"

#include <gtest/gtest.h>

namespace hai::sd3403 {
namespace {

constexpr int64_t kScratch = 1;

DmaLoad load(int64_t image, int64_t source, int64_t rows, int64_t row_bytes, int64_t row_stride) {
  DmaLoad out;
  out.image = image;
  out.source = source;
  out.planes = 1;
  out.rows = rows;
  out.row_bytes = row_bytes;
  out.source_row_stride = row_stride;
  out.destination_row_stride = row_bytes;
  return out;
}

Command command(const CommandBody& body) { return {0, 0, 0, body}; }

TEST(ExternalBytes, CountEachByteOnce) {
  const std::vector<Command> commands = {
      command(load(2, 0, 4, 16, 16)),    // 64 bytes
      command(load(2, 32, 4, 16, 16)),   // 32 of them again, 32 more
      command(load(3, 0, 3, 8, 100)),    // rows with gaps: 24
      command(load(3, 108, 1, 16, 16)),  // its first bytes follow the second row
      command(load(kScratch, 0, 9, 16, 16)),
  };
  EXPECT_EQ(distinct_external_bytes(commands, kScratch), 96 + 24 + 16);
}

TEST(ExternalBytes, OutputsCountAndStreamsByTheirEntries) {
  DmaStore store;
  store.image = 4;
  store.destination = 128;
  store.planes = 1;
  store.rows = 2;
  store.row_bytes = 32;
  store.source_row_stride = store.destination_row_stride = 32;
  WeightLoad weights;
  weights.entry = 16;
  weights.expanded_bytes = 4096;
  const std::vector<Command> commands = {command(store), command(store), command(weights), command(weights)};
  EXPECT_EQ(distinct_external_bytes(commands, kScratch), 64 + 16);
  EXPECT_EQ(distinct_external_bytes({}, kScratch), 0);
}

}  // namespace
}  // namespace hai::sd3403

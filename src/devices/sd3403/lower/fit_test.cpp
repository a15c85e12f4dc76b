// Layers against each of the three memories, and what the whole compiler makes of them.
#include "devices/sd3403/lower/fit.h"

#include <gtest/gtest.h>

#include "devices/sd3403/lower/schedule.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kRows = 8;

// 3x3 convolutions of pictures of 8 rows, one after the other.
class Convolutions {
 public:
  explicit Convolutions(int64_t columns, int64_t channels) : columns_(columns), channels_(channels) {
    for (const char* name : {"a", "b", "c"}) {
      segment.buffers.push_back({name, kRows, columns, channels, kI8, ir::kNone, ir::kNone, false});
    }
    segment.buffers[0].input = 0;
    segment.buffers[2].output = 1;
    add("first", 0, 1);
    add("second", 1, 2);
  }

  Segment segment;

 private:
  Slice slice(BufferId id) const {
    Slice out;
    out.buffer = id;
    out.rows = kRows;
    out.columns = columns_;
    out.channels = channels_;
    out.type = kI8;
    out.pixel_stride = channels_;
    out.row_stride = columns_ * channels_;
    return out;
  }
  void add(const char* name, BufferId from, BufferId to) {
    Layer layer;
    layer.name = name;
    Convolve body;
    body.input_type = kI8;
    body.window_rows = body.window_columns = 3;
    body.pad_top = body.pad_left = 1;
    layer.body = body;
    layer.constants.window = 9;
    layer.constants.depth = channels_;
    layer.constants.weights.resize(static_cast<size_t>(9 * channels_ * channels_));
    layer.reads = {{slice(from), {3, 1, 1, 1, {}, {}}}};
    layer.writes = slice(to);
    segment.layers.push_back(std::move(layer));
  }
  int64_t columns_, channels_;
};

Machine machine_of(double sram_bytes, double cache_bytes = 131072, double accumulator_bytes = 65536) {
  Machine machine;
  machine.sram_bytes = sram_bytes;
  machine.weight_cache_bytes = cache_bytes;
  machine.accumulator_bytes = accumulator_bytes;
  return machine;
}

TEST(Fit, NothingIsSaidOfWhatFits) {
  Convolutions c(20, 32);
  EXPECT_TRUE(misfits_of(c.segment, {}).empty());
  for (const Buffer& buffer : c.segment.buffers) EXPECT_FALSE(buffer.spilled) << buffer.name;
}

// A stripe of a row reads three rows of 640 bytes, a fourth comes meanwhile, and two are being written.
TEST(Fit, RowsThatDoNotFitTheScratchpadAreNamed) {
  for (const auto& [sram, fits] : {std::pair{5 * 640, false}, std::pair{8 * 640, true}}) {
    Convolutions c(20, 32);
    const Machine machine = machine_of(sram);
    const std::vector<Misfit> misfits = misfits_of(c.segment, machine);
    EXPECT_EQ(misfits.empty(), fits) << sram;
    EXPECT_EQ(static_cast<bool>(schedule(c.segment, machine, {})), fits) << "both have the same opinion";
    if (fits) continue;
    ASSERT_EQ(misfits.size(), 2U) << "all are found at once";
    EXPECT_EQ(misfits[1].layer, 1U);
    EXPECT_EQ(misfits[0].error.id, "N110");
    for (const std::string_view part : {"first", "3200 bytes", "8 rows of 640 bytes"}) {
      EXPECT_NE(misfits[0].error.message.find(part), std::string::npos) << misfits[0].error.message;
    }
  }
}

TEST(Fit, ConstantsThatDoNotFitTheCacheAreNamed) {
  Convolutions c(20, 32);
  const std::vector<Misfit> misfits = misfits_of(c.segment, machine_of(1 << 20, 256));
  ASSERT_EQ(misfits.size(), 2U);
  EXPECT_EQ(misfits[0].error.id, "N120");
  EXPECT_NE(misfits[0].error.message.find("first"), std::string::npos) << misfits[0].error.message;
}

}  // namespace
}  // namespace hai::sd3403

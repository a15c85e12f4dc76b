// Which weights stay in the cache from sample to sample, and what that is worth.
#include "devices/sd3403/exec/passes.h"

#include <gtest/gtest.h>

#include "devices/sd3403/exec/energy.h"
#include "devices/sd3403/exec/timing.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

std::vector<Command> program(std::string text) {
  text += "end queue=load\nend queue=compute\nend queue=store\nend core=1 queue=load\nend core=1 queue=compute\n";
  text += "end core=1 queue=store\n";
  return assemble(text).value();
}

int64_t loads_in(const std::vector<Command>& commands) {
  return std::count_if(commands.begin(), commands.end(),
                       [](const Command& command) { return std::holds_alternative<WeightLoad>(command.body); });
}

TEST(Passes, WhatNothingOverwritesStays) {
  std::string text = "weight_load entry=0 destination=0 expanded_bytes=4096\n";
  text += "weight_load entry=16 destination=4096 expanded_bytes=1024\n";
  text += "weight_load entry=0 destination=0 expanded_bytes=4096\n";  // for the next stripe
  const LaterPass pass = later_pass(program(text));
  EXPECT_EQ(loads_in(pass.commands), 0);
  EXPECT_EQ(pass.resident_bytes, 4096 + 1024 + 4096);
  EXPECT_EQ(pass.commands.size(), 6U) << "all others are there";
  EXPECT_EQ(pass.numbers, (std::vector<size_t>{3, 4, 5, 6, 7, 8}));
}

TEST(Passes, WhatIsOverwrittenIsLoadedAgain) {
  // The second lies on the end of the first and on the beginning of the third; the fourth is apart.
  std::string text = "weight_load entry=0 destination=0 expanded_bytes=4096\n";
  text += "weight_load entry=16 destination=4080 expanded_bytes=1024\n";
  text += "weight_load entry=32 destination=5088 expanded_bytes=64\n";
  text += "weight_load entry=48 destination=8192 expanded_bytes=16\n";
  const LaterPass pass = later_pass(program(text));
  EXPECT_EQ(loads_in(pass.commands), 3);
  EXPECT_EQ(pass.resident_bytes, 16);
}

TEST(Passes, AnotherStreamAtTheSamePlaceIsLoadedAgain) {
  std::string text = "weight_load entry=0 destination=0 expanded_bytes=4096\n";
  text += "weight_load entry=16 destination=0 expanded_bytes=4096\n";
  EXPECT_EQ(loads_in(later_pass(program(text)).commands), 2);
}

TEST(Passes, CoresHaveCachesOfTheirOwn) {
  std::string text = "weight_load entry=0 destination=0 expanded_bytes=4096\n";
  text += "weight_load core=1 entry=16 destination=0 expanded_bytes=4096\n";
  EXPECT_EQ(loads_in(later_pass(program(text)).commands), 0);
}

TEST(Passes, WhatACorePacksOverwrites) {
  std::string text = "weight_load entry=0 destination=0 expanded_bytes=4096\n";
  text += "weight_pack rows=4 columns=1 channels=16 input_row_stride=16 input_pixel_stride=16 destination=1024\n";
  EXPECT_EQ(loads_in(later_pass(program(text)).commands), 1);
}

TEST(Passes, ABatchIsOneWholePassAndLaterOnes) {
  std::vector<std::byte> constants(16 + 4096);
  constants[0] = std::byte{16};  // offset of the stream, its bytes, expanded bytes: 4096
  constants[5] = constants[9] = std::byte{16};
  const std::vector<Command> commands = program("weight_load entry=0 destination=0 expanded_bytes=4096\n");
  const auto first = time_program(commands, constants, {});
  ASSERT_TRUE(first) << first.error().to_string();
  const auto later = time_program(later_pass(commands).commands, constants, {});
  ASSERT_TRUE(later);
  EXPECT_LT(later->seconds(), first->seconds());
  for (const int64_t samples : {1, 2, 7}) {
    const auto batch = time_batch(commands, constants, *first, samples);
    ASSERT_TRUE(batch);
    const Timeline& whole = batch->whole;
    EXPECT_EQ(whole.passes, samples);
    EXPECT_EQ(whole.end_ticks, first->end_ticks + (samples - 1) * later->end_ticks);
    EXPECT_DOUBLE_EQ(whole.frames_a_second(), static_cast<double>(samples) / whole.seconds());
    ASSERT_EQ(whole.layers.size(), first->layers.size());
    const auto sum = [&](int64_t LayerTime::* member) {
      return first->total.*member + (samples - 1) * later->total.*member;
    };
    for (int64_t LayerTime::* member : {&LayerTime::core_ticks, &LayerTime::commands, &LayerTime::ddr_weight_bytes_read,
                                        &LayerTime::sram_bytes_read, &LayerTime::transfer_ticks}) {
      EXPECT_EQ(whole.total.*member, sum(member));
      EXPECT_EQ(whole.layers[0].*member, sum(member));
    }
    // A frame costs the mean of the passes.
    const double joules =
        energy_of(*first).npu_and_ddr.joules + static_cast<double>(samples - 1) * energy_of(*later).npu_and_ddr.joules;
    EXPECT_NEAR(energy_of(whole).npu_and_ddr.joules * static_cast<double>(samples), joules, 1e-9 * joules);
  }
}

TEST(Passes, ABatchThatIsLongerThanTimeIsCountedIsRefused) {
  const std::vector<Command> commands = program("dma_load row_bytes=4096 destination=0\n");
  const auto first = time_program(commands, {}, {});
  ASSERT_TRUE(first);
  const auto batch = time_batch(commands, {}, *first, INT64_MAX);
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().id, "N094");
}

}  // namespace
}  // namespace hai::sd3403

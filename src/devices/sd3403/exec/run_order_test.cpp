// Where programs with broken parts come to stand, in values and in time.
#include "devices/sd3403/exec/run_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "devices/sd3403/exec/timing.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

const std::string kEnds =
    "end queue=load\nend queue=compute\nend queue=store\n"
    "end core=1 queue=load\nend core=1 queue=compute\nend core=1 queue=store\n";

// Two loads, two tiles of arithmetic, two stores, one behind the other.
std::vector<Command> chain() {
  return assemble(R"(
dma_load image=2 row_bytes=4096
signal queue=load semaphore=1
dma_load image=2 row_bytes=4096 destination=0x1000
signal queue=load semaphore=1
wait queue=compute semaphore=1
copy fills=1 channels=64 output_address=0x2000 output_pixel_stride=64
signal queue=compute semaphore=2
wait queue=compute semaphore=1
copy fills=1 channels=64 output_address=0x3000 output_pixel_stride=64
signal queue=compute semaphore=2
wait queue=store semaphore=2
dma_store image=3 source=0x2000 row_bytes=64
wait queue=store semaphore=2
dma_store image=3 source=0x3000 destination=64 row_bytes=64
)" + kEnds)
      .value();
}

TEST(RunOrder, WithoutBrokenPartsEverythingRuns) {
  const auto commands = chain();
  const RunOrder order = run_order(commands);
  EXPECT_TRUE(order.complete(commands.size()));
  EXPECT_TRUE(order.stands.empty());
}

TEST(RunOrder, AStuckSemaphoreHoldsTheQueueThatWaitsForIt) {
  const auto commands = chain();
  const RunOrder order = run_order(commands, {.stuck_semaphores = {1, 2, 7}, .hung_commands = {}});
  ASSERT_EQ(order.stands.size(), 3U);
  EXPECT_EQ(order.stands[0], 4U);
  EXPECT_EQ(order.stands[1], 10U);
  EXPECT_FALSE(order.stands[2].has_value());  // nobody waits for it
  EXPECT_FALSE(order.complete(commands.size()));
  EXPECT_EQ(std::count(order.commands.begin(), order.commands.end(), 5U), 0);
  EXPECT_EQ(std::count(order.commands.begin(), order.commands.end(), 2U), 1);  // loads go on
}

TEST(RunOrder, ACommandThatHangsHoldsItsQueueAndWhatWaitsForIt) {
  const auto commands = chain();
  const RunOrder order = run_order(commands, {.stuck_semaphores = {}, .hung_commands = {2, 13}});
  EXPECT_EQ(order.stands[0], 2U);
  EXPECT_FALSE(order.stands[1].has_value());  // not reached
  EXPECT_EQ(std::count(order.commands.begin(), order.commands.end(), 11U), 1);
  EXPECT_EQ(std::count(order.commands.begin(), order.commands.end(), 8U), 0);
  EXPECT_EQ(std::count(order.commands.begin(), order.commands.end(), 2U), 0);
}

TEST(Standstill, SaysSinceWhen) {
  const auto commands = chain();
  const auto still = time_standstill(commands, {}, {}, {.stuck_semaphores = {2}, .hung_commands = {}}).value();
  ASSERT_TRUE(still.places[0].has_value());
  EXPECT_EQ(still.places[0]->command, 10U);
  EXPECT_EQ(still.places[0]->since_cycle, 8);  // the store queue's first command
  const Timeline whole = time_program(commands, {}, {}).value();
  EXPECT_LT(still.last_cycle, whole.cycles());
  EXPECT_GT(still.last_cycle, 400);  // everything before went on
  const auto hung = time_standstill(commands, {}, {}, {.stuck_semaphores = {}, .hung_commands = {2}}).value();
  EXPECT_EQ(hung.places[0]->command, 2U);
  EXPECT_EQ(hung.places[0]->since_cycle, (whole.commands[2].issued + kTicksPerCycle - 1) / kTicksPerCycle);
}

// Any part of any program: a run always ends, values and time agree on the command, and nothing that is broken is
// passed over.
TEST(Standstill, ValuesAndTimeStandAtTheSameCommand) {
  std::mt19937 random(17);
  int stood = 0;
  for (int round = 0; round < 60; ++round) {
    std::string text;
    std::array<int, 8> open{};
    for (int i = 0; i < 120; ++i) {
      const std::string core = "core=" + std::to_string(random() % 2) + " ";
      const auto semaphore = random() % open.size();  // even ones for core 0's arithmetic, odd ones for core 1's
      switch (random() % 4) {
        case 0:
          text += "dma_load " + core + "image=2 row_bytes=640 channel=" + std::to_string(random() % 2) + "\n";
          break;
        case 1:
          text += "copy " + core + "fills=1 channels=640 output_pixel_stride=640\n";
          break;
        case 2:
          text += "signal " + core + "queue=load semaphore=" + std::to_string(semaphore) + "\n";
          ++open[semaphore];
          break;
        default:
          if (open[semaphore] == 0) break;
          text += "wait core=" + std::to_string(semaphore % 2) +
                  " queue=compute semaphore=" + std::to_string(semaphore) + "\n";
          --open[semaphore];
      }
    }
    for (size_t s = 0; s < open.size(); ++s) {
      if (open[s] == 0) continue;
      text += "wait core=" + std::to_string(s % 2) + " queue=compute semaphore=" + std::to_string(s) +
              " count=" + std::to_string(open[s]) + "\n";
    }
    const auto commands = assemble(text + kEnds).value();
    ASSERT_TRUE(run_order(commands).complete(commands.size()));
    std::vector<BrokenParts> parts;
    for (int64_t s = 0; s < 8; ++s) parts.push_back({.stuck_semaphores = {s}, .hung_commands = {}});
    for (size_t i = 0; i < commands.size(); ++i) {
      if (info_of(commands[i].body).queue != QueueKind::kAny)
        parts.push_back({.stuck_semaphores = {}, .hung_commands = {i}});
    }
    for (const BrokenParts& broken : parts) {
      const RunOrder order = run_order(commands, broken);
      const auto still = time_standstill(commands, {}, {}, broken).value();
      ASSERT_EQ(order.stands[0].has_value(), still.places[0].has_value());
      ASSERT_EQ(order.stands[0].has_value(), !order.complete(commands.size()));
      if (!order.stands[0]) continue;
      EXPECT_EQ(*order.stands[0], still.places[0]->command);
      EXPECT_LE(still.places[0]->since_cycle, still.last_cycle);
      ++stood;
    }
  }
  EXPECT_GT(stood, 3000);
}

}  // namespace
}  // namespace hai::sd3403

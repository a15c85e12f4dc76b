// Small programs whose time is worked out by hand beside them: one engine, sharing, overlap, semaphores, faults.
#include "devices/sd3403/exec/timing.h"

#include <gtest/gtest.h>

#include <ctime>
#include <random>

#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kTick = kTicksPerCycle;
const std::string kEnds =
    "end queue=load\nend queue=compute\nend queue=store\n"
    "end core=1 queue=load\nend core=1 queue=compute\nend core=1 queue=store\n";

std::vector<Command> program(const std::string& text) { return assemble(text + kEnds).value(); }

std::vector<std::byte> entry(uint32_t offset, uint32_t bytes, uint32_t expanded, uint32_t form) {
  std::vector<std::byte> out;
  for (const uint32_t word : {offset, bytes, expanded, form}) {
    for (int i = 0; i < 4; ++i) out.push_back(static_cast<std::byte>(word >> (8 * i) & 0xff));
  }
  return out;
}

Timeline timed(const std::string& text, const Machine& machine = {}) {
  return time_program(program(text), {}, machine).value();
}

// 100 cycles of arithmetic: 6400 bytes are written.
std::string fill(int core, int layer = 0) {
  return "copy core=" + std::to_string(core) + " layer=" + std::to_string(layer) +
         " fills=1 rows=1 columns=1 channels=6400 output_pixel_stride=6400 output_row_stride=6400"
         " output_channel_stride=1 input_channel_stride=1\n";
}
// 100 cycles of external memory by itself: 2176 bytes at 25.6 * 0.85 a cycle.
std::string load(int core, int channel = 0, int layer = 0) {
  return "dma_load core=" + std::to_string(core) + " channel=" + std::to_string(channel) +
         " layer=" + std::to_string(layer) + " row_bytes=2176\n";
}
std::string store(int core, int channel = 0) {
  return "dma_store core=" + std::to_string(core) + " channel=" + std::to_string(channel) + " row_bytes=2176\n";
}
std::string sync(const std::string& name, int core, const std::string& queue, int semaphore, int count = 1) {
  return name + " core=" + std::to_string(core) + " queue=" + queue + " semaphore=" + std::to_string(semaphore) +
         " count=" + std::to_string(count) + "\n";
}
std::string signal(int core, const std::string& queue, int semaphore, int count = 1) {
  return sync("signal", core, queue, semaphore, count);
}
std::string wait(int core, const std::string& queue, int semaphore, int count = 1) {
  return sync("wait", core, queue, semaphore, count);
}

int64_t stall(const LayerTime& layer, StallOn on) { return layer.stall_core_ticks[static_cast<size_t>(on)]; }

TEST(Timing, EmptyProgram) {
  const Timeline t = timed("");
  EXPECT_EQ(t.end_ticks, 8 * kTick);  // the queues read their ends
  EXPECT_TRUE(t.layers.empty());
  EXPECT_EQ(t.utilisation(t.total), 0.0);
}

TEST(Timing, OneCommandIsIssueAndItsCycles) {
  const Timeline t = timed(fill(0, 7));
  EXPECT_EQ(t.cycles(), 8 + 100);
  EXPECT_EQ(t.commands[0].issued, 8 * kTick);
  EXPECT_EQ(t.commands[0].start, 8 * kTick);
  EXPECT_EQ(t.commands[0].end, 108 * kTick);
  ASSERT_EQ(t.layers.size(), 1U);
  EXPECT_EQ(t.layers[0].layer, 7);
  EXPECT_EQ(t.layers[0].busy_core_ticks, 100 * kTick);
  EXPECT_EQ(stall(t.layers[0], StallOn::kIssue), 8 * kTick);
  EXPECT_EQ(t.layers[0].core_ticks, 108 * kTick);
  EXPECT_EQ(t.cores, 1);
  EXPECT_DOUBLE_EQ(t.frames_a_second(), 1e9 / 108);
}

TEST(Timing, ConvolutionByHand) {
  // 16 x 16 pixels of 16 channels, pointwise: 64 groups of 4 pixels, then 64 cycles of post-processing.
  const Timeline t = timed(
      "convolve input_rows=16 input_columns=16 input_channels=16 input_row_stride=256 input_pixel_stride=16 "
      "output_rows=16 output_columns=16 output_channels=16 output_row_stride=256 output_pixel_stride=16 first_sum=1 "
      "last_sum=1\n");
  EXPECT_EQ(t.cycles(), 8 + 64 + 64);
  EXPECT_EQ(t.total.all_products(), 16 * 16 * 16 * 16);
  EXPECT_DOUBLE_EQ(t.utilisation(t.total), 65536.0 / (136.0 * 2048.0));  // of both cores' arrays
}

TEST(Timing, NextCommandIsReadBehindTheOneThatRuns) { EXPECT_EQ(timed(fill(0) + fill(0) + fill(0)).cycles(), 8 + 300); }

TEST(Timing, TransfersOfAChannelShareTheirLatency) {
  EXPECT_EQ(timed(load(0)).cycles(), 8 + 200 + 100);
  EXPECT_EQ(timed(load(0) + load(0) + load(0)).cycles(), 8 + 200 + 300);
  Machine one;
  one.dma_in_flight = 1;
  EXPECT_EQ(timed(load(0) + load(0), one).cycles(), 8 + 300 + 300);  // read meanwhile, taken when the first is done
}

TEST(Timing, TransfersShareExternalMemory) {
  // Both flow from 208 on at half the rate.
  Timeline t = timed(load(0) + load(1));
  EXPECT_EQ(t.cycles(), 8 + 200 + 200);
  EXPECT_EQ(t.ddr_busy_ticks, 200 * kTick);
  EXPECT_EQ(t.commands[0].end, 408 * kTick);
  EXPECT_EQ(t.commands[1].end, 408 * kTick);
  // The second channel begins 8 cycles later: 8 alone, 92 left to share with 100: 8 + 184, then 8 alone.
  t = timed(load(0, 0) + load(0, 1));
  EXPECT_EQ(t.commands[0].end, (208 + 8 + 184) * kTick);
  EXPECT_EQ(t.commands[1].end, (208 + 200) * kTick);
  // Three: thirds are whole.
  t = timed(load(0) + load(1) + store(0, 1));
  EXPECT_EQ(t.commands[2].end, 508 * kTick);
  Machine one;  // channel 1 is not there
  one.dma_channels = 1;
  EXPECT_EQ(timed(load(0, 0) + load(0, 1), one).commands[0].end, 308 * kTick);
}

TEST(Timing, SemaphoreHoldsArithmeticAndNamesItsReason) {
  const Timeline t = timed(load(0) + signal(0, "load", 3) + wait(0, "compute", 3) + fill(0, 2));
  // Bytes are there at 308, the signal arrives at 312, the command is read by 320.
  EXPECT_EQ(t.commands[3].start, 320 * kTick);
  EXPECT_EQ(t.cycles(), 420);
  EXPECT_EQ(t.commands[2].released_by, 0);
  EXPECT_EQ(t.commands[2].start, 8 * kTick);
  EXPECT_EQ(t.commands[2].end, 312 * kTick);
  ASSERT_EQ(t.layers.size(), 2U);
  EXPECT_EQ(stall(t.layers[1], StallOn::kActivations), 304 * kTick);
  EXPECT_EQ(stall(t.layers[1], StallOn::kIssue), 16 * kTick);
  EXPECT_EQ(t.layers[1].busy_core_ticks, 100 * kTick);
  EXPECT_EQ(t.layers[0].transfer_ticks, 100 * kTick);
  EXPECT_EQ(t.layers[0].ddr_activation_bytes_read, 2176);
}

TEST(Timing, SignalWaitsForAllBeforeItAndHoldsNothing) {
  // The store queue's signal leaves when both channels are done; the queue itself goes on.
  const Timeline t = timed(store(0, 0) + store(0, 1) + signal(0, "store", 1) + store(0, 0) + wait(1, "load", 1));
  EXPECT_EQ(t.commands[3].issued, 32 * kTick);
  EXPECT_EQ(t.commands[2].end, t.commands[1].end);
  EXPECT_EQ(t.commands[4].end, t.commands[1].end + 4 * kTick);
}

TEST(Timing, DoubleBufferingHidesTransfers) {
  // Two buffers: loads go ahead by two; semaphore 0 counts full buffers, 1 free ones.
  std::string text;
  for (int i = 0; i < 10; ++i) {
    if (i >= 2) text += wait(0, "load", 1);
    text += load(0) + signal(0, "load", 0);
    text += wait(0, "compute", 0) + fill(0) + fill(0) + fill(0) + fill(0) + signal(0, "compute", 1);
  }
  text += wait(0, "load", 1, 2);
  const Timeline t = timed(text);
  // The first buffer at 308, its signal at 312, the command read by 320; from then on arithmetic only, 400 a buffer, as
  // its queue reads ahead and a load takes 312; at the end the load queue is told (4) and reads its end (8).
  EXPECT_EQ(t.total.busy_core_ticks, 4000 * kTick);
  EXPECT_EQ(stall(t.total, StallOn::kActivations), 304 * kTick);
  EXPECT_EQ(t.cycles(), 320 + 4000 + 12);
  EXPECT_EQ(t.total.core_ticks, t.end_ticks);

  std::string serial;  // one buffer: nothing is hidden
  for (int i = 0; i < 10; ++i) {
    if (i >= 1) serial += wait(0, "load", 1);
    serial += load(0) + signal(0, "load", 0);
    serial += wait(0, "compute", 0) + fill(0) + fill(0) + fill(0) + fill(0) + signal(0, "compute", 1);
  }
  serial += wait(0, "load", 1);
  EXPECT_GT(timed(serial).cycles(), 7000);
}

TEST(Timing, WeightsComeThroughTheDecoder) {
  // 65536 bytes from a stream of 2176: the decoder's 2048 cycles from the first byte on, after two latencies.
  std::vector<std::byte> constants = entry(16, 2176, 65536, 1);
  constants.resize(16 + 2176);
  const auto commands =
      program("weight_load expanded_bytes=65536 layer=1\nweight_load expanded_bytes=65536 channel=1\n");
  const Timeline t = time_program(commands, constants, {}).value();
  EXPECT_EQ(t.commands[0].end, (8 + 400 + 2048) * kTick);
  EXPECT_EQ(t.commands[1].end, (8 + 400 + 2 * 2048) * kTick);  // one stream at a time
  EXPECT_EQ(t.layers[1].ddr_weight_bytes_read, 2192);
  EXPECT_EQ(t.layers[1].decode_ticks, 2048 * kTick);
  EXPECT_EQ(t.total.cache_bytes, 131072);
  EXPECT_EQ(time_program(commands, {}, {}).error().id, "N062");
}

TEST(Timing, CoresAndTheEndOfTheProgramAreAccountedFor) {
  const Timeline t =
      timed(fill(0, 1) + fill(1, 2) + fill(1, 2) + signal(1, "compute", 5) + wait(0, "store", 5) + store(0));
  EXPECT_EQ(t.cores, 2);
  EXPECT_EQ(t.layers[1].busy_core_ticks, 100 * kTick);
  EXPECT_EQ(stall(t.layers[1], StallOn::kArithmetic), 100 * kTick);  // until core 1 is done
  EXPECT_GT(stall(t.layers[1], StallOn::kStores), 300 * kTick);
  EXPECT_EQ(t.total.core_ticks, 2 * t.end_ticks);
  EXPECT_EQ(t.total.core_ticks, t.total.busy_core_ticks + t.total.stall_ticks());
  EXPECT_DOUBLE_EQ(t.cycles_of_layer(t.total) * kTick, static_cast<double>(t.end_ticks));
}

TEST(Timing, StallOnTheOtherCore) {
  const Timeline t = timed(fill(1, 1) + signal(1, "compute", 2) + wait(0, "compute", 2) + fill(0, 2));
  EXPECT_EQ(stall(t.layers[1], StallOn::kArithmetic), 104 * kTick);
}

TEST(Timing, DeadlockNamesTheCommand) {
  const auto commands = program(wait(0, "compute", 9, 2) + fill(0) + signal(0, "load", 9));
  const auto result = time_program(commands, {}, {});
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().id, "N080");
  EXPECT_NE(result.error().message.find("command 0 (wait, core 0"), std::string::npos) << result.error().message;
  EXPECT_NE(result.error().message.find("2 signals of semaphore 9, 1 have come"), std::string::npos);
}

TEST(Timing, SignalsLeftOverNameTheCommand) {
  const auto result = time_program(program(fill(0) + signal(0, "compute", 4, 3)), {}, {});
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().id, "N081");
  EXPECT_NE(result.error().message.find("command 1 (signal, core 0"), std::string::npos) << result.error().message;
}

TEST(Timing, CoresThatTheMachineLacks) {
  Machine single;
  single.cores = 1;
  const auto result = time_program(program(fill(1)), {}, single);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().id, "N082");
  EXPECT_EQ(time_program(std::vector<Command>{Command{}}, {}, {}).error().id, "N082");
}

TEST(Timing, AbsurdTimeIsAnError) {
  Machine slow;
  slow.ddr_gigabytes = 0.01;
  slow.clock_mhz = 10000;
  slow.ddr_short_efficiency = slow.ddr_long_efficiency = 0.01;
  std::string text;
  for (int i = 0; i < 400; ++i) text += "dma_load row_bytes=16777215 rows=65535 planes=65535\n";
  const auto result = time_program(program(text), {}, slow);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().id, "N083");
}

TEST(Timing, TwentyThousandCommandsInMilliseconds) {
  std::string text;
  for (int i = 0; i < 2500; ++i) {
    const int core = i % 2;
    text += load(core) + signal(core, "load", core) + wait(core, "compute", core) + fill(core);
    text += signal(core, "compute", 2 + core) + wait(core, "store", 2 + core) + store(core, 1) + fill(core);
  }
  const auto commands = program(text);
  const std::clock_t start = std::clock();
  const Timeline t = time_program(commands, {}, {}).value();
  const double milliseconds = 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  RecordProperty("cpu_ms", std::to_string(milliseconds));
  EXPECT_EQ(t.commands.size(), 20006U);
  EXPECT_LT(milliseconds, 500.0);  // about 8 in a release build; the bound is for sanitizers
}

// Random programs without deadlock: the same twice, nothing runs before what it waits for, engines never overlap.
TEST(Timing, RandomProgramsAreDeterministicAndInOrder) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    std::string text;
    std::array<int, 64> open{};
    for (int i = 0; i < 200; ++i) {
      const int core = static_cast<int>(random() % 2);
      const int channel = static_cast<int>(random() % 2);
      const int semaphore = core * 2 + static_cast<int>(random() % 2);
      switch (random() % 5) {
        case 0:
          text += load(core, channel);
          break;
        case 1:
          text += store(core, channel);
          break;
        case 2:
          text += fill(core);
          break;
        case 3:
          text += signal(1 - core, "load", semaphore);
          ++open[static_cast<size_t>(semaphore)];
          break;
        default:
          if (open[static_cast<size_t>(semaphore)] > 0) {
            text += wait(core, "compute", semaphore);
            --open[static_cast<size_t>(semaphore)];
          }
      }
    }
    for (int s = 0; s < 4; ++s) {
      if (open[static_cast<size_t>(s)] > 0) text += wait(s / 2, "compute", s, open[static_cast<size_t>(s)]);
    }
    const auto commands = program(text);
    const Timeline a = time_program(commands, {}, {}).value();
    const Timeline b = time_program(commands, {}, {}).value();
    std::array<int64_t, 2> unit_free{};
    std::array<int64_t, 4> channel_free{};
    for (size_t i = 0; i < commands.size(); ++i) {
      ASSERT_EQ(a.commands[i].start, b.commands[i].start);
      ASSERT_EQ(a.commands[i].end, b.commands[i].end);
      ASSERT_LE(a.commands[i].start, a.commands[i].end);
      ASSERT_LE(a.commands[i].end, a.end_ticks);
      const size_t core = commands[i].core;
      if (std::holds_alternative<Copy>(commands[i].body)) {
        ASSERT_GE(a.commands[i].start, unit_free[core]);
        unit_free[core] = a.commands[i].end;
      } else if (const auto* transfer = std::get_if<DmaLoad>(&commands[i].body)) {
        ASSERT_GE(a.commands[i].end, channel_free[2 * core + static_cast<size_t>(transfer->channel)]);
        channel_free[2 * core + static_cast<size_t>(transfer->channel)] = a.commands[i].end;
      }
    }
    EXPECT_EQ(a.total.core_ticks, a.total.busy_core_ticks + a.total.stall_ticks());
    EXPECT_EQ(a.total.core_ticks, a.cores * a.end_ticks);
  }
}

}  // namespace
}  // namespace hai::sd3403

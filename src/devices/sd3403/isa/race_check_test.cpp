// Ordered programs have no race; take any wait away and the pair that it held apart is found. may_touch against sets of
// bytes.
#include "devices/sd3403/isa/race_check.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

#include "devices/sd3403/isa/access.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

std::vector<Command> program(const std::string& text) { return assemble(text).value(); }

std::string sync(const std::string& name, int core, const std::string& queue, int semaphore, int count = 1) {
  return name + " core=" + std::to_string(core) + " queue=" + queue + " semaphore=" + std::to_string(semaphore) +
         " count=" + std::to_string(count) + "\n";
}
std::string load(int address, int core = 0, int channel = 0) {
  return "dma_load core=" + std::to_string(core) + " channel=" + std::to_string(channel) +
         " image=2 row_bytes=64 destination=" + std::to_string(address) + "\n";
}
std::string store(int address, int core = 0) {
  return "dma_store core=" + std::to_string(core) + " image=3 row_bytes=64 source=" + std::to_string(address) + "\n";
}
// 64 bytes of one pixel.
std::string copy(int from, int to, int core = 0) {
  return "copy core=" + std::to_string(core) +
         " rows=1 columns=1 channels=64 input_channel_stride=1 output_channel_stride=1 input_address=" +
         std::to_string(from) + " output_address=" + std::to_string(to) + "\n";
}

// Two tiles through one buffer: the second load waits until the first has been read.
const std::vector<std::string> kSound = {
    load(0),                       // 0
    sync("signal", 0, "load", 0),  // 1
    sync("wait", 0, "load", 1),    // 2
    load(0),                       // 3
    sync("signal", 0, "load", 0),  // 4
    sync("wait", 0, "compute", 0),
    copy(0, 64),  // 6
    sync("signal", 0, "compute", 1),
    sync("signal", 0, "compute", 2),
    sync("wait", 0, "compute", 0),
    sync("wait", 0, "compute", 3),
    copy(0, 64),  // 11
    sync("signal", 0, "compute", 2),
    sync("wait", 0, "store", 2),
    store(64),  // 14
    sync("signal", 0, "store", 3),
    sync("wait", 0, "store", 2),
    store(64),  // 17
};

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

TEST(RaceCheck, WhatIsOrderedHasNone) {
  EXPECT_FALSE(find_race(program(joined(kSound))));
  EXPECT_FALSE(find_race({}));
  EXPECT_FALSE(find_race(program(load(0) + copy(64, 128) + store(192))));
  EXPECT_FALSE(find_race(program(copy(0, 64) + store(0)))) << "both read";
}

TEST(RaceCheck, EveryWaitThatIsTakenAwayIsMissed) {
  int removed = 0;
  for (size_t i = 0; i < kSound.size(); ++i) {
    if (kSound[i].rfind("wait", 0) != 0) continue;
    std::vector<std::string> lines = kSound;
    lines[i].clear();
    EXPECT_TRUE(find_race(program(joined(lines)))) << "without line " << i;
    ++removed;
  }
  EXPECT_EQ(removed, 6);
}

TEST(RaceCheck, NamesThePair) {
  std::vector<std::string> lines = kSound;
  lines[10].clear();  // the second copy does not wait for the first store
  const auto race = find_race(program(joined(lines)));
  ASSERT_TRUE(race);
  EXPECT_EQ(race->first, 10U);  // the second copy, one line earlier now
  EXPECT_EQ(race->second, 13U);
  EXPECT_NE(race->text.find("output of the one may be source of the other"), std::string::npos) << race->text;
}

TEST(RaceCheck, OrderComesThroughAThirdQueueAndTheOtherCore) {
  const std::string through = load(0) + sync("signal", 0, "load", 0) + sync("wait", 1, "compute", 0) +
                              copy(256, 512, 1) + sync("signal", 1, "compute", 1) + sync("wait", 0, "store", 1) +
                              store(0);
  EXPECT_FALSE(find_race(program(through)));
  const std::string beside =
      load(0) + sync("signal", 0, "load", 0) + sync("wait", 1, "compute", 0) + copy(256, 0, 1) + copy(0, 1024, 0);
  EXPECT_TRUE(find_race(program(beside)));
  EXPECT_TRUE(find_race(program(copy(0, 64, 0) + copy(64, 128, 1))));
  EXPECT_FALSE(find_race(program(copy(0, 64, 0) + copy(0, 128, 1))));
}

TEST(RaceCheck, OneOfTwoSignalsMayBeEithers) {
  // Both cores load and signal one semaphore; a wait for one of them knows nothing, for two it knows both.
  const std::string loads = load(0, 0) + sync("signal", 0, "load", 5) + load(64, 1) + sync("signal", 1, "load", 5);
  EXPECT_TRUE(find_race(program(loads + sync("wait", 0, "compute", 5) + copy(0, 256))));
  EXPECT_FALSE(find_race(program(loads + sync("wait", 0, "compute", 5, 2) + copy(0, 256) + copy(64, 256))));
  EXPECT_FALSE(
      find_race(program(loads + sync("wait", 0, "compute", 5) + sync("wait", 0, "compute", 5) + copy(64, 256))));
  // A second signal of one queue: with two of three, one of the first queue's and none of the second's is sure.
  const std::string three = load(0, 0) + sync("signal", 0, "load", 5) + load(128, 0) + sync("signal", 0, "load", 5) +
                            load(64, 1) + sync("signal", 1, "load", 5);
  EXPECT_FALSE(find_race(program(three + sync("wait", 0, "compute", 5, 2) + copy(0, 256))));
  EXPECT_TRUE(find_race(program(three + sync("wait", 0, "compute", 5, 2) + copy(128, 256))));
  EXPECT_TRUE(find_race(program(three + sync("wait", 0, "compute", 5, 2) + copy(64, 256))));
}

TEST(RaceCheck, ChannelsOfAQueueRunSideBySide) {
  EXPECT_FALSE(find_race(program(load(0) + load(0))));
  EXPECT_TRUE(find_race(program(load(0, 0, 0) + load(32, 0, 1))));
  EXPECT_FALSE(find_race(program(load(0, 0, 0) + load(64, 0, 1))));
  const std::string held = load(0, 0, 0) + sync("signal", 0, "load", 0) + sync("wait", 0, "load", 1) + load(0, 0, 1) +
                           sync("wait", 0, "compute", 0) + sync("signal", 0, "compute", 1);
  EXPECT_FALSE(find_race(program(held)));
}

std::set<int64_t> bytes_of(const Access& a) {
  std::set<int64_t> out;
  for (int64_t plane = 0; plane < a.planes; ++plane) {
    for (int64_t row = 0; row < a.rows; ++row) {
      for (int64_t pixel = 0; pixel < a.pixels; ++pixel) {
        for (int64_t byte = 0; byte < a.pixel_bytes; ++byte)
          out.insert(a.address + plane * a.plane_stride + row * a.row_stride + pixel * a.pixel_stride + byte);
      }
    }
  }
  return out;
}

TEST(Access, MayTouchMissesNoByte) {
  std::mt19937 random(3);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  int apart_by_lanes = 0;
  for (int i = 0; i < 20000; ++i) {
    Access both[2];
    const int64_t period = pick(1, 12);
    for (Access& a : both) {
      a.writes = true;
      a.address = pick(0, 40);
      a.pixels = pick(1, 4);
      a.pixel_stride = pick(0, 3) == 0 ? pick(0, 12) : period;
      a.rows = pick(1, 3);
      a.row_stride = pick(0, 2) == 0 ? pick(0, 40) : period * pick(0, 5);
      a.pixel_bytes = pick(1, 8);
      if (pick(0, 3) == 0) {
        a.planes = 2;
        a.plane_stride = pick(0, 50);
      }
    }
    const std::set<int64_t> x = bytes_of(both[0]);
    const std::set<int64_t> y = bytes_of(both[1]);
    const bool touch = std::any_of(x.begin(), x.end(), [&](int64_t byte) { return y.contains(byte); });
    const bool stretches = both[0].end() > both[1].address && both[1].end() > both[0].address;
    const bool may = may_touch(both[0], both[1]);
    ASSERT_TRUE(may || !touch) << i;
    apart_by_lanes += !may && stretches ? 1 : 0;
  }
  EXPECT_GT(apart_by_lanes, 100);
}

}  // namespace
}  // namespace hai::sd3403

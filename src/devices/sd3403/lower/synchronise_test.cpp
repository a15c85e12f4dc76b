// Programs with semaphores do what their commands do one after the other, without a race and without a needless wait.
#include "devices/sd3403/lower/synchronise.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>

#include "devices/sd3403/isa/access.h"
#include "devices/sd3403/isa/program_verifier.h"
#include "devices/sd3403/isa/race_check.h"

namespace hai::sd3403 {
namespace {

const MemorySizes kMemory{{4096, 65536, 65536, 65536}, 65536, 4096, 4096};

Command load(uint8_t core, int64_t address, int64_t bytes) {
  DmaLoad c;
  c.image = 2;
  c.destination = address;
  c.row_bytes = bytes;
  return {core, 0, 0, c};
}
Command store(uint8_t core, int64_t address, int64_t bytes) {
  DmaStore c;
  c.image = 3;
  c.source = address;
  c.destination = address;
  c.row_bytes = bytes;
  return {core, 0, 0, c};
}
Command copy(uint8_t core, int64_t from, int64_t to, int64_t bytes) {
  Copy c;
  c.input_address = from;
  c.output_address = to;
  c.input_channel_stride = c.output_channel_stride = 1;
  c.rows = c.columns = 1;
  c.channels = bytes;
  return {core, 0, 0, c};
}

bool is_sync(const Command& command) {
  return std::holds_alternative<Wait>(command.body) || std::holds_alternative<Signal>(command.body) ||
         std::holds_alternative<End>(command.body);
}
int64_t count_of_waits(const std::vector<Command>& commands) {
  int64_t count = 0;
  for (const Command& command : commands) count += std::holds_alternative<Wait>(command.body) ? 1 : 0;
  return count;
}

void expect_sound(const std::vector<Command>& program) {
  const Status status = verify_commands(program, kMemory);
  ASSERT_TRUE(status) << status.error().to_string();
  const auto race = find_race(program);
  ASSERT_FALSE(race) << race->text;
}

// One order that the semaphores allow: the queues by turns, the last one first, each as far as it gets.
std::vector<Command> run_backwards(const std::vector<Command>& program) {
  std::array<std::vector<Command>, 6> queues;
  for (const Command& c : program) queues[c.core * 3U + static_cast<size_t>(queue_of(c.body))].push_back(c);
  std::array<size_t, 6> next{};
  std::map<int64_t, int64_t> signals;
  std::vector<Command> order;
  for (size_t before = SIZE_MAX; order.size() != before;) {
    before = order.size();
    for (size_t q = 6; q-- > 0;) {
      for (; next[q] < queues[q].size(); ++next[q]) {
        const Command& command = queues[q][next[q]];
        if (const auto* wait = std::get_if<Wait>(&command.body)) {
          if (signals[wait->semaphore] < wait->count) break;
          signals[wait->semaphore] -= wait->count;
        }
        if (const auto* signal = std::get_if<Signal>(&command.body)) signals[signal->semaphore] += signal->count;
        order.push_back(command);
      }
    }
  }
  return order;
}

// Without a wait for one signal and the signal that it takes: the one of the same place on its semaphore.
std::vector<Command> without_wait(const std::vector<Command>& program, size_t number) {
  const int64_t semaphore = std::get<Wait>(program[number].body).semaphore;
  int64_t place = 0;
  for (size_t i = 0; i < number; ++i) {
    const auto* wait = std::get_if<Wait>(&program[i].body);
    place += wait != nullptr && wait->semaphore == semaphore ? 1 : 0;
  }
  std::vector<Command> out;
  for (size_t i = 0; i < program.size(); ++i) {
    const auto* signal = std::get_if<Signal>(&program[i].body);
    const bool is_taken = signal != nullptr && signal->semaphore == semaphore && place-- == 0;
    if (i != number && !is_taken) out.push_back(program[i]);
  }
  return out;
}

TEST(Synchronise, ATileGoesThroughTheQueues) {
  const std::vector<Command> program = synchronise({load(0, 0, 64), copy(0, 0, 64, 64), store(0, 64, 64)});
  expect_sound(program);
  EXPECT_EQ(count_of_waits(program), 2);
  EXPECT_EQ(program.size(), 3U + 2 * 2 + 3);
}

TEST(Synchronise, NothingWaitsWithoutNeed) {
  EXPECT_EQ(count_of_waits(synchronise({load(0, 0, 64), copy(0, 64, 128, 64), store(1, 256, 64)})), 0);
  EXPECT_EQ(count_of_waits(synchronise({copy(0, 0, 64, 64), copy(1, 0, 128, 64)})), 0) << "both read";
  // The store knows of the load through the copy; the second copy has the first one's wait.
  const std::vector<Command> program =
      synchronise({load(0, 0, 128), copy(0, 0, 128, 64), copy(0, 64, 192, 64), store(0, 0, 256)});
  expect_sound(program);
  EXPECT_EQ(count_of_waits(program), 2);
}

TEST(Synchronise, ABufferThatIsUsedAgainWaitsForItsReader) {
  const std::vector<Command> program =
      synchronise({load(0, 0, 64), copy(0, 0, 64, 64), load(0, 0, 64), copy(0, 0, 128, 64)});
  expect_sound(program);
  EXPECT_EQ(count_of_waits(program), 3);
}

TEST(Synchronise, NothingOfNothing) { EXPECT_TRUE(synchronise({}).empty()); }

TEST(Synchronise, RandomProgramsKeepTheirOrderWhereItMatters) {
  std::mt19937 random(5);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  int64_t waits = 0;
  for (int round = 0; round < 150; ++round) {
    std::vector<Command> plain;
    for (int64_t i = pick(2, 40); i > 0; --i) {
      const auto core = static_cast<uint8_t>(pick(0, 1));
      const int64_t address = 16 * pick(0, 30);
      const int64_t bytes = 16 * pick(1, 4);
      const int64_t kind = pick(0, 2);
      plain.push_back(kind == 0   ? load(core, address, bytes)
                      : kind == 1 ? store(core, address, bytes)
                                  : copy(core, address, address + bytes + 16 * pick(0, 20), bytes));
      plain.back().tile = static_cast<uint32_t>(plain.size());
    }
    const std::vector<Command> program = synchronise(plain);
    expect_sound(program);
    if (HasFatalFailure()) return;
    // Taken away with its signal, every wait is missed.
    for (size_t i = 0; i < program.size(); ++i) {
      const auto* wait = std::get_if<Wait>(&program[i].body);
      if (wait == nullptr) continue;
      ++waits;
      EXPECT_TRUE(find_race(without_wait(program, i))) << "round " << round << ", wait " << i;
    }
    // Conflicting commands come in the order in which they were written down.
    const std::vector<Command> order = run_backwards(program);
    ASSERT_EQ(order.size(), program.size());
    std::vector<std::vector<Access>> accesses;
    std::vector<uint32_t> tiles;
    for (const Command& command : order) {
      if (is_sync(command)) continue;
      accesses_of(command, accesses.emplace_back());
      tiles.push_back(command.tile);
    }
    ASSERT_EQ(tiles.size(), plain.size());
    for (size_t i = 0; i < tiles.size(); ++i) {
      for (size_t j = i + 1; j < tiles.size(); ++j) {
        for (const Access& a : accesses[i]) {
          for (const Access& b : accesses[j]) {
            const bool conflict = (a.writes || b.writes) && may_touch(a, b);
            EXPECT_TRUE(!conflict || tiles[i] < tiles[j]) << "round " << round;
          }
        }
      }
    }
  }
  EXPECT_GT(waits, 1000);
}

}  // namespace
}  // namespace hai::sd3403

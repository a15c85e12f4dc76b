// Programs of the NPU that nobody's compiler made, in files that are sound otherwise: a compiled network with its
// commands or constants changed, written, loaded and run through the public interface. Each is refused when the session
// is made, by a message that has the command and the field, address or semaphore; none runs, and none hangs.
#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "npu_faulty.h"
#include "npu_graph.h"

namespace hai {
namespace {

using sd3403::Command;
using sd3403::Convolve;
using sd3403::DmaLoad;
using sd3403::DmaStore;
using sd3403::End;
using sd3403::Signal;
using sd3403::Wait;
using sd3403::WeightLoad;
using testing::NpuFile;

const format::ModelFile& network() {
  static const format::ModelFile kFile = [] {
    compiler::CompileOptions options;
    options.device = "sd3403";
    options.sd3403.partition.least_macs = 0;
    return compiler::compile(testing::NpuGraph(6).build(), options).value().file;
  }();
  return kFile;
}

template <typename Body>
size_t first_of(const std::vector<Command>& commands) {
  const auto at = std::find_if(commands.begin(), commands.end(),
                               [](const Command& c) { return std::holds_alternative<Body>(c.body); });
  EXPECT_NE(at, commands.end());
  return static_cast<size_t>(at - commands.begin());
}

// Changes the first command of a kind; the refusal must have its id, the command and every word.
template <typename Body, typename Change>
void expect_refused(std::string_view id, const std::vector<std::string>& words, Change change) {
  NpuFile file(network());
  std::vector<Command> commands = file.commands();
  const size_t number = first_of<Body>(commands);
  change(std::get<Body>(commands[number].body));
  file.set_commands(commands);
  const auto session = file.session();
  ASSERT_FALSE(session.has_value()) << id << " was due";
  const std::string& message = session.error().message;
  EXPECT_NE(message.find(fmt::format("[HAI-{}]", id)), std::string::npos) << message;
  EXPECT_NE(message.find("command "), std::string::npos) << message;
  for (const std::string& word : words) EXPECT_NE(message.find(word), std::string::npos) << word << ": " << message;
}

TEST(NpuHostile, TheNetworkIsSound) {
  const NpuFile file(network());
  ASSERT_EQ(file.error(), "");
  const auto session = file.session();
  ASSERT_TRUE(session.has_value()) << session.error().message;
}

TEST(NpuHostile, AccessesOutOfRangeNameFieldAndAddress) {
  expect_refused<DmaLoad>("N020", {"dma_load", "source at address 0xfffffff0", "image"},
                          [](DmaLoad& c) { c.source = 0xfffffff0; });
  expect_refused<DmaLoad>("N020", {"dma_load", "destination at address 0xfffff0", "the scratchpad"},
                          [](DmaLoad& c) { c.destination = 0xfffff0; });
  expect_refused<DmaLoad>("N028", {"dma_load", "source", "image 63"}, [](DmaLoad& c) { c.image = 63; });
  expect_refused<DmaLoad>("N020", {"dma_load", "source"}, [](DmaLoad& c) {
    c.rows = c.planes = 65535;
    c.source_row_stride = c.source_plane_stride = 0xffffffff;
  });
  expect_refused<DmaStore>("N020", {"dma_store", "destination at address 0xfffffff0"},
                           [](DmaStore& c) { c.destination = 0xfffffff0; });
  expect_refused<DmaStore>("N075", {"dma_store", "image 2", "input"}, [](DmaStore& c) {
    c.image = 2;
    c.destination = c.destination_row_stride = c.destination_plane_stride = 0;
    c.row_bytes = c.rows = c.planes = 1;
  });
  expect_refused<WeightLoad>("N020", {"weight_load", "entry at address 0xfffffff0", "image 0"},
                             [](WeightLoad& c) { c.entry = 0xfffffff0; });
  expect_refused<WeightLoad>("N027", {"weight_load", "entry", "multiples of 16"}, [](WeightLoad& c) { c.entry = 8; });
  expect_refused<WeightLoad>("N020", {"weight_load", "destination at address 0xffff0", "the weight cache"},
                             [](WeightLoad& c) { c.destination = 0xffff0; });
  expect_refused<WeightLoad>("N062", {"weight_load", "entry at byte"}, [](WeightLoad& c) { c.expanded_bytes -= 1; });
  expect_refused<Convolve>("N020", {"convolve", "weights at address 0xffff0"},
                           [](Convolve& c) { c.weight_address = 0xffff0; });
  expect_refused<Convolve>("N020", {"convolve", "input at address 0xfffff0"},
                           [](Convolve& c) { c.input_address = 0xfffff0; });
  expect_refused<Convolve>("N020", {"convolve", "channel_table at address 0xffff8"}, [](Convolve& c) {
    c.channel_table = 0xffff8;
    c.last_sum = c.first_sum = 1;
  });
}

TEST(NpuHostile, UnbalancedProgramsNameCommandAndSemaphore) {
  expect_refused<Signal>("N025", {"(wait", "queue", "semaphore", "deadlock"}, [](Signal& c) { c.semaphore = 63; });
  expect_refused<Signal>("N026", {"(signal", "semaphore", "nobody waits"}, [](Signal& c) { c.count += 1; });
  expect_refused<Wait>("N025", {"(wait", "semaphore", "deadlock"}, [](Wait& c) { c.count = 255; });
  expect_refused<End>("N022", {"has no end"}, [](End& c) { c.queue = c.queue == 0 ? 1 : 0; });
}

// A wait becomes an end, and the other way round; two queues wait for one semaphore.
TEST(NpuHostile, QueuesThatDoNotEndWhereTheyShould) {
  NpuFile file(network());
  const std::vector<Command> sound = file.commands();
  const auto refusal = [&](const std::vector<Command>& commands) {
    file.set_commands(commands);
    const auto session = file.session();
    return session.has_value() ? std::string("accepted") : session.error().message;
  };
  std::vector<Command> commands = sound;
  const size_t wait = first_of<Wait>(commands);
  commands[wait].body = End{std::get<Wait>(sound[wait].body).queue};
  EXPECT_NE(refusal(commands).find(fmt::format("command {} (end", wait)), std::string::npos) << refusal(commands);
  EXPECT_NE(refusal(commands).find("N022"), std::string::npos);
  commands = sound;
  int64_t semaphore = std::get<Wait>(sound[wait].body).semaphore;
  for (Command& command : commands) {
    auto* other = std::get_if<Wait>(&command.body);
    if (other != nullptr && other->queue != std::get<Wait>(sound[wait].body).queue) other->semaphore = semaphore;
  }
  EXPECT_NE(refusal(commands).find("N024"), std::string::npos) << refusal(commands);
  EXPECT_NE(refusal(commands).find(fmt::format("semaphore {}", semaphore)), std::string::npos);
}

// Words with random bits changed, and random constants: refused, or a run that ends.
TEST(NpuHostile, RandomDamageIsRefusedOrRuns) {
  std::mt19937 random(2);
  int refused = 0;
  int ran = 0;
  for (int round = 0; round < 400; ++round) {
    NpuFile file(network());
    const size_t operand = round % 4 == 0 ? 1 : 0;
    std::vector<std::byte> bytes = file.bytes(operand);
    for (int changes = 1 + round % 3; changes > 0; --changes)
      bytes[random() % bytes.size()] ^= std::byte{1} << random() % 8;
    file.set_bytes(operand, std::move(bytes));
    auto session = file.session();
    if (!session.has_value()) {
      EXPECT_NE(session.error().message.find("[HAI-"), std::string::npos);
      ++refused;
      continue;
    }
    const auto inputs = testing::inputs_of(file, 0);
    EXPECT_TRUE(session->run(inputs).has_value());
    ++ran;
  }
  EXPECT_GT(refused, 100);
  EXPECT_GT(ran, 20);
}

}  // namespace
}  // namespace hai

// Injected faults through the public interface: every semaphore and every transfer of networks one after the other, and
// thousands of single bits. Each is detected with the place, contained, or masked; a run always ends.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "npu_faulty.h"
#include "npu_graph.h"

namespace hai {
namespace {

using sd3403::Command;
using testing::FaultRun;
using testing::NpuFile;
using testing::run_with;

struct Subject {
  explicit Subject(uint32_t seed)
      : file(compiled(seed)), commands(file.commands()), inputs(testing::inputs_of(file, 7)) {
    right = run_with(file, {}, inputs);
    EXPECT_EQ(right.error, "");
    EXPECT_TRUE(right.faults.empty());
  }
  static format::ModelFile compiled(uint32_t seed) {
    compiler::CompileOptions options;
    options.device = "sd3403";
    options.sd3403.partition.least_macs = 0;
    return compiler::compile(testing::NpuGraph(seed).build(), options).value().file;
  }
  bool same(const FaultRun& run) const {
    if (run.outputs.size() != right.outputs.size()) return false;
    for (size_t i = 0; i < run.outputs.size(); ++i) {
      if (run.outputs[i].size_bytes() != right.outputs[i].size_bytes() ||
          std::memcmp(run.outputs[i].data(), right.outputs[i].data(), right.outputs[i].size_bytes()) != 0)
        return false;
    }
    return true;
  }
  // One of a semaphore that the program waits for.
  std::string stuck() const {
    for (const Command& command : commands) {
      if (const auto* wait = std::get_if<sd3403::Wait>(&command.body))
        return fmt::format("semaphore,number={}", wait->semaphore);
    }
    return "nobody waits";
  }
  const Command& command_of(const nlohmann::json& fault) const {
    return commands.at(fault.at("command").get<size_t>());
  }

  NpuFile file;
  std::vector<Command> commands;
  std::vector<api::Tensor> inputs;
  FaultRun right;
};

constexpr uint32_t kSeeds[] = {2, 6, 9};

// What a detected fault must say of its place.
void expect_place(const Subject& subject, const FaultRun& run) {
  const nlohmann::json& fault = run.faults.at(0);
  const Command& command = subject.command_of(fault);
  EXPECT_EQ(fault.at("core"), command.core);
  EXPECT_EQ(fault.at("queue"), sd3403::queue_name(sd3403::queue_of(command.body)));
  EXPECT_FALSE(fault.at("layer").get<std::string>().empty());
  EXPECT_GE(fault.at("modelled_cycle").get<int64_t>(), 8);
  EXPECT_NE(run.error.find(sd3403::command_text(command, fault.at("command").get<size_t>())), std::string::npos)
      << run.error;
}

TEST(NpuFaults, EverySemaphoreThatSticksIsFoundWhereItIsWaitedFor) {
  int found = 0;
  for (const uint32_t seed : kSeeds) {
    const Subject subject(seed);
    for (int64_t semaphore = 0; semaphore < 64; ++semaphore) {
      const bool used = std::any_of(subject.commands.begin(), subject.commands.end(), [&](const Command& c) {
        const auto* wait = std::get_if<sd3403::Wait>(&c.body);
        return wait != nullptr && wait->semaphore == semaphore;
      });
      const FaultRun run = run_with(subject.file, {fmt::format("semaphore,number={}", semaphore)}, subject.inputs);
      if (!used) {
        EXPECT_EQ(run.verdict(), "masked");
        EXPECT_TRUE(subject.same(run));
        continue;
      }
      ++found;
      ASSERT_EQ(run.verdict(), "detected") << semaphore;
      EXPECT_NE(run.error.find("HAI-N056"), std::string::npos) << run.error;
      EXPECT_EQ(run.faults.at(0).at("semaphore"), semaphore);
      const auto* wait = std::get_if<sd3403::Wait>(&subject.command_of(run.faults.at(0)).body);
      ASSERT_TRUE(wait != nullptr && wait->semaphore == semaphore);
      expect_place(subject, run);
    }
  }
  EXPECT_GT(found, 12);
}

TEST(NpuFaults, EveryTransferThatIsNeverDoneIsFound) {
  int found = 0;
  for (const uint32_t seed : kSeeds) {
    const Subject subject(seed);
    std::map<size_t, int> seen;  // by command
    for (int core = 0; core < 2; ++core) {
      for (int channel = 0; channel < 2; ++channel) {
        for (int64_t transfer = 0;; ++transfer) {
          const FaultRun run =
              run_with(subject.file, {fmt::format("dma,core={},channel={},transfer={}", core, channel, transfer)},
                       subject.inputs);
          if (run.faults.is_null()) {
            EXPECT_NE(run.error.find(fmt::format("has {} transfers", transfer)), std::string::npos) << run.error;
            break;
          }
          ASSERT_EQ(run.verdict(), "detected") << core << " " << channel << " " << transfer;
          EXPECT_NE(run.error.find("HAI-N057"), std::string::npos) << run.error;
          EXPECT_EQ(run.faults.at(0).at("channel"), channel);
          const Command& command = subject.command_of(run.faults.at(0));
          EXPECT_EQ(command.core, core);
          EXPECT_NE(sd3403::info_of(command.body).queue, sd3403::QueueKind::kAny);
          expect_place(subject, run);
          ++seen[run.faults.at(0).at("command").get<size_t>()];
          ++found;
        }
      }
    }
    const auto transfers = std::count_if(subject.commands.begin(), subject.commands.end(), [](const Command& c) {
      return std::holds_alternative<sd3403::DmaLoad>(c.body) || std::holds_alternative<sd3403::DmaStore>(c.body) ||
             std::holds_alternative<sd3403::WeightLoad>(c.body);
    });
    EXPECT_EQ(static_cast<int64_t>(seen.size()), transfers) << "seed " << seed;  // each once
  }
  EXPECT_GT(found, 40);
}

// Bits of the constants: whatever a stream has is detected, what no command reads is masked, and nothing else happens.
TEST(NpuFaults, EveryBitOfAStreamIsCovered) {
  std::map<std::string, int> verdicts;
  for (const uint32_t seed : kSeeds) {
    const Subject subject(seed);
    for (int draw = 0; draw < 120; ++draw) {
      const FaultRun run = run_with(subject.file, {fmt::format("flip,image=constants,seed={}", draw)}, subject.inputs);
      const std::string what = run.faults.at(0).at("what");
      ++verdicts[run.verdict()];
      if (what.find("stream") != std::string::npos) {
        EXPECT_EQ(run.verdict(), "detected") << what;
        EXPECT_NE(run.error.find("HAI-N058"), std::string::npos);
        EXPECT_TRUE(std::holds_alternative<sd3403::WeightLoad>(subject.command_of(run.faults.at(0)).body));
        expect_place(subject, run);
      } else {
        EXPECT_NE(what.find("no command reads it"), std::string::npos) << what;
        EXPECT_EQ(run.verdict(), "masked") << what;
        EXPECT_TRUE(subject.same(run));
      }
    }
  }
  EXPECT_GT(verdicts["detected"], 250);
}

// Bits anywhere: verdicts are what the outputs say, the same seed gives the same report, and every verdict occurs.
TEST(NpuFaults, BitsOfTensorsAndCommandsAreContainedMaskedOrDetected) {
  std::map<std::string, int> verdicts;
  for (const uint32_t seed : kSeeds) {
    const Subject subject(seed);
    const std::string input = subject.file.model()->input(0).name;
    for (int draw = 0; draw < 100; ++draw) {
      const std::string fault = draw % 3 == 0   ? fmt::format("flip,image=commands,seed={}", draw)
                                : draw % 3 == 1 ? fmt::format("flip,image=2,seed={}", draw)
                                                : fmt::format("flip,seed={}", draw);
      const FaultRun run = run_with(subject.file, {fault}, subject.inputs);
      ASSERT_FALSE(run.faults.is_null()) << fault << ": " << run.error;
      const std::string verdict = run.verdict();
      ++verdicts[verdict];
      EXPECT_EQ(verdict == "detected", !run.error.empty()) << fault;
      const std::string detail = run.faults.at(0).at("detail");
      EXPECT_TRUE(verdict != "contained" || detail.find(" bytes of ") != std::string::npos) << detail;
      EXPECT_TRUE(verdict != "masked" || subject.same(run)) << fault << " " << detail;
      EXPECT_EQ(run_with(subject.file, {fault}, subject.inputs).faults, run.faults);
    }
  }
  for (const char* verdict : {"detected", "contained", "masked"}) EXPECT_GT(verdicts[verdict], 20) << verdict;
}

// A bit of an output turns over when everything else is done: that bit is wrong, and no other.
TEST(NpuFaults, ABitOfAnOutputIsThatBit) {
  for (const uint32_t seed : kSeeds) {
    const Subject subject(seed);
    sd3403::Command last;
    for (const Command& c : subject.commands) {
      if (const auto* store = std::get_if<sd3403::DmaStore>(&c.body); store != nullptr && store->image > 1) last = c;
    }
    const auto& store = std::get<sd3403::DmaStore>(last.body);
    const FaultRun run = run_with(
        subject.file, {fmt::format("flip,image={},byte={},bit=6", store.image, store.destination)}, subject.inputs);
    EXPECT_EQ(run.verdict(), "contained");
    EXPECT_NE(run.faults.at(0).at("detail").get<std::string>().find("1 bytes of "), std::string::npos);
    EXPECT_NE(run.faults.at(0).at("what").get<std::string>().find("after command "), std::string::npos);
  }
}

TEST(NpuFaults, SeveralAtOnceAndSamplesOfABatch) {
  const Subject subject(6);
  const FaultRun both = run_with(subject.file, {"flip,image=2,byte=0,bit=7", subject.stuck()}, subject.inputs);
  EXPECT_EQ(both.verdict(0), "not reached");
  EXPECT_EQ(both.verdict(1), "detected");
  const FaultRun two = run_with(subject.file, {subject.stuck(), "flip,image=constants,byte=0,bit=0"}, subject.inputs);
  EXPECT_EQ(two.verdict(1), "detected");
  // Only the first sample has the wrong bit; runs of a session start anew.
  const auto batch = testing::inputs_of(subject.file, 11, 3);
  const FaultRun right = run_with(subject.file, {}, batch);
  auto session = subject.file.session({"flip,image=2,byte=0,bit=7"});
  ASSERT_TRUE(session.has_value()) << session.error().message;
  for (int round = 0; round < 2; ++round) {
    const auto outputs = session->run(batch);
    ASSERT_TRUE(outputs.has_value());
    for (size_t i = 0; i < outputs->size(); ++i) {
      const size_t sample = (*outputs)[i].size_bytes() / 3;
      EXPECT_EQ(std::memcmp(static_cast<const char*>((*outputs)[i].data()) + sample,
                            static_cast<const char*>(right.outputs[i].data()) + sample, 2 * sample),
                0);
    }
  }
}

TEST(NpuFaults, AnInjectionStaysInItsSession) {
  const Subject subject(6);
  const auto model = subject.file.model();
  ASSERT_TRUE(model.has_value());
  api::SessionOptions options;
  options.device = "sd3403";
  options.inject = {subject.stuck()};
  auto faulty = model->session(options);
  ASSERT_TRUE(faulty.has_value());
  EXPECT_EQ(faulty->run(subject.inputs).error().code, HAI_IO);
  options.inject = {};
  auto sound = model->session(options);
  ASSERT_TRUE(sound.has_value());
  EXPECT_TRUE(sound->run(subject.inputs).has_value());
  EXPECT_EQ(sound->fault_report().value(), "[]");
  EXPECT_FALSE(faulty->run(subject.inputs).has_value());
  options.inject = {"flip,image=constants,byte=0,bit=0"};
  auto damaged = model->session(options);
  ASSERT_TRUE(damaged.has_value());
  EXPECT_EQ(damaged->run(subject.inputs).error().code, HAI_CORRUPT);
}

TEST(NpuFaults, WhatTheProgramDoesNotHaveIsRefusedByName) {
  const Subject subject(6);
  const auto refused = [&](const std::string& fault, std::string_view id, std::string_view word) {
    const auto session = subject.file.session({fault});
    ASSERT_FALSE(session.has_value()) << fault;
    const std::string& message = session.error().message;
    EXPECT_NE(message.find(id), std::string::npos) << message;
    EXPECT_NE(message.find(word), std::string::npos) << message;
  };
  refused("nonsense", "N093", "there is no fault \"nonsense\"");
  refused("", "N093", "write flip,");
  refused("semaphore,number=1,segment=npu9", "N091", "npu0");
  refused("flip,image=nobody,byte=0,bit=0", "N088", "constants, scratch");
  refused("flip,image=63,byte=0,bit=0", "N088", "no image \"63\"");
  refused("flip,image=constants,byte=999999999,bit=0", "N088", "beyond image constants");
  refused("flip,image=commands,byte=999999999,bit=0", "N088", "beyond image commands");
  refused("dma,core=0,channel=0,transfer=99999", "N092", "transfers");
  compiler::CompileOptions options;
  const auto cpu = format::serialize(compiler::compile(testing::NpuGraph(6).build(), options).value().file).value();
  const auto model = api::Model::load(cpu.data(), cpu.size());
  api::SessionOptions session;
  session.inject = {"semaphore,number=1"};
  const auto refusal = model->session(session);
  ASSERT_FALSE(refusal.has_value());
  EXPECT_NE(refusal.error().message.find("R030"), std::string::npos) << refusal.error().message;
}

}  // namespace
}  // namespace hai

// Tables, JSON and traces of small programs: what they say, that the JSON parses, that hostile names stay inside
// strings.
#include "devices/sd3403/exec/timeline_report.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>

#include "devices/sd3403/exec/passes.h"
#include "devices/sd3403/exec/scratchpad_use.h"
#include "devices/sd3403/exec/timeline_trace.h"
#include "devices/sd3403/exec/timing.h"
#include "devices/sd3403/isa/assembly.h"

namespace hai::sd3403 {
namespace {

using Json = nlohmann::json;
constexpr int64_t kTick = kTicksPerCycle;

// Loads 4 KiB, copies them, stores them; core 1 fills something meanwhile; weights come too.
struct Example {
  std::vector<Command> commands;
  std::vector<std::byte> constants = std::vector<std::byte>(16 + 320);
  Timeline timeline;
  std::vector<std::string> names = {"input", "copy \"it\"\n\xff", std::string(60, 'x')};

  Example() {
    constants[0] = std::byte{16};
    constants[4] = constants[8] = std::byte{0x40};
    constants[5] = constants[9] = std::byte{1};
    commands =
        assemble(
            "dma_load layer=0 row_bytes=4096 destination=0\nsignal queue=load semaphore=1\n"
            "weight_load layer=1 channel=1 expanded_bytes=320\nend queue=load\n"
            "wait queue=compute semaphore=1\n"
            "copy layer=1 rows=1 columns=1 channels=4096 input_address=0 output_address=8192 "
            "input_pixel_stride=4096 output_pixel_stride=4096 input_channel_stride=1 output_channel_stride=1\n"
            "signal queue=compute semaphore=2\nend queue=compute\n"
            "wait queue=store semaphore=2\ndma_store layer=2 row_bytes=4096 source=8192 tile=7\nend queue=store\n"
            "end core=1 queue=load\n"
            "copy core=1 layer=5 fills=1 rows=1 columns=1 channels=64 output_address=65536 output_pixel_stride=64 "
            "input_channel_stride=1 output_channel_stride=1\n"
            "end core=1 queue=compute\nend core=1 queue=store\n")
            .value();
    timeline = time_program(commands, constants, {}).value();
  }
};

TEST(TimelineReport, Table) {
  const Example e;
  const std::string table = to_table(e.timeline, energy_of(e.timeline), e.names);
  EXPECT_TRUE(table.starts_with("modelled, profile sd3403, 1000 MHz at 0.80 V\n")) << table;
  for (const char* const text : {"input ", "layer 5", "total", "NPU + DRAM", "SoC", "fps/W (modelled)",
                                 "(modelled, profile sd3403", "stores", "copy \"it\"\\x0a\\xff "}) {
    EXPECT_NE(table.find(text), std::string::npos) << text << "\n" << table;
  }
  EXPECT_EQ(table.find('\xff'), std::string::npos);
  EXPECT_EQ(table.find(std::string(29, 'x')), std::string::npos);
  EXPECT_EQ(table, to_table(e.timeline, energy_of(e.timeline), e.names));
}

TEST(TimelineReport, Json) {
  const Example e;
  const Energy energy = energy_of(e.timeline);
  const Json json = Json::parse(to_json(e.timeline, energy, e.names));
  EXPECT_EQ(json["kind"], "modelled");
  EXPECT_EQ(json["profile"], "sd3403");
  EXPECT_EQ(json["cycles"], e.timeline.cycles());
  ASSERT_EQ(json["layers"].size(), e.timeline.layers.size());
  double cycles = 0;
  for (const Json& layer : json["layers"]) {
    cycles += layer["cycles"].get<double>();
    double parts = layer["compute_cycles"];
    for (const auto& [name, stall] : layer["stall_cycles"].items()) parts += stall.get<double>();
    EXPECT_NEAR(parts, layer["cycles"], 0.01);
  }
  EXPECT_NEAR(cycles, static_cast<double>(e.timeline.end_ticks) / kTick, 0.01);
  EXPECT_EQ(json["total"]["ddr_activation_bytes_read"], 4096);
  EXPECT_EQ(json["total"]["ddr_weight_bytes_read"], 336);
  EXPECT_EQ(json["total"]["ddr_bytes_written"], 4096);
  EXPECT_NEAR(json["soc"]["watts"].get<double>(), energy.soc.watts, 1e-5);
  EXPECT_EQ(json["layers"][1]["name"].get<std::string>().substr(0, 9), "copy \"it\"");
}

TEST(TimelineReport, EmptyProgram) {
  const Timeline t = time_program({}, {}, {}).value();
  EXPECT_EQ(t.end_ticks, 0);
  EXPECT_NE(to_table(t, energy_of(t), {}).find("0 cycles"), std::string::npos);
  EXPECT_EQ(Json::parse(to_json(t, energy_of(t), {}))["frames_a_second"], 0.0);
  EXPECT_TRUE(Json::parse(timeline_trace(std::array{TracedPasses{{}, t}}, {}))["traceEvents"].is_array());
}

TEST(TimelineTrace, RowsOfEnginesInVirtualTime) {
  const Example e;
  const Json json = Json::parse(timeline_trace(std::array{TracedPasses{e.commands, e.timeline}}, e.names, 9));
  std::map<int64_t, std::string> rows;
  std::map<std::string, int> events;
  std::map<int64_t, double> row_end;
  double peak = 0;
  for (const Json& event : json["traceEvents"]) {
    EXPECT_EQ(event["pid"], 9);
    if (event["name"] == "thread_name") rows[event["tid"]] = event["args"]["name"];
    if (event["ph"] == "C") peak = std::max(peak, event["args"]["KiB"].get<double>());
    if (event["ph"] != "X") continue;
    EXPECT_EQ(event["args"]["time"], "modelled");
    ++events[rows[event["tid"]]];
    EXPECT_GE(event["ts"].get<double>(), row_end[event["tid"]] - 1e-9);  // engines do one thing at a time
    row_end[event["tid"]] = event["ts"].get<double>() + event["dur"].get<double>();
  }
  EXPECT_EQ(rows.size(), 10U);
  const std::map<std::string, int> expected = {{"core 0 compute", 1},        {"core 0 compute waits", 1},
                                               {"core 0 DMA 0", 2},          {"core 0 DMA 1", 1},
                                               {"core 0 weight decoder", 1}, {"core 1 compute", 1}};
  EXPECT_EQ(events, expected);
  EXPECT_EQ(peak, 8);
}

TEST(TimelineTrace, PassesFollowEachOther) {
  const Example e;
  const BatchTime batch = time_batch(e.commands, e.constants, e.timeline, 3).value();
  ASSERT_LT(batch.pass.commands.size(), e.commands.size());
  const std::array passes = {
      TracedPasses{e.commands, e.timeline},
      TracedPasses{batch.pass.commands, batch.later, e.timeline.end_ticks, 2, batch.pass.numbers}};
  const Json json = Json::parse(timeline_trace(passes, e.names));
  std::map<int64_t, int> events;
  std::map<int64_t, double> row_end;
  double copies = 0;
  for (const Json& event : json["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const int64_t pass = event["args"]["pass"];
    ++events[pass];
    EXPECT_GE(event["ts"].get<double>(), row_end[event["tid"]] - 1e-9);
    row_end[event["tid"]] = event["ts"].get<double>() + event["dur"].get<double>();
    const double begin = static_cast<double>(pass == 0 ? 0 : e.timeline.end_ticks + (pass - 1) * batch.later.end_ticks);
    EXPECT_GE(event["ts"].get<double>() * 1e3 + 1, begin / kTick);  // 1 GHz: a cycle a nanosecond
    const auto& command = e.commands[event["args"]["command"].get<size_t>()];
    EXPECT_EQ(event["args"]["kind"], info_of(command.body).name);  // numbers are the program's
    if (event["args"]["kind"] == "copy") copies += 1;
  }
  // The weights of the first pass are there in the others: one event of the channel less, and one of the decoder.
  EXPECT_EQ(events, (std::map<int64_t, int>{{0, 7}, {1, 5}, {2, 5}}));
  EXPECT_EQ(copies, 6);
  const std::string table = to_table(batch.whole, energy_of(batch.whole), e.names);
  EXPECT_NE(table.find("sums over 3 passes"), std::string::npos) << table;
  EXPECT_EQ(Json::parse(to_json(batch.whole, energy_of(batch.whole), e.names))["passes"], 3);
}

TEST(TimelineTrace, AStoppedRunHasWhatBegan) {
  const Example e;
  BrokenParts broken;
  broken.stuck_semaphores = {2};
  const Timeline stopped = time_until_stopped(e.commands, e.constants, {}, broken).value();
  const auto kinds_of = [&](const Timeline& timeline) {
    std::map<std::string, int> kinds;
    const std::string text = timeline_trace(std::array{TracedPasses{e.commands, timeline}}, e.names);
    const auto document = Json::parse(text);
    for (const Json& event : document["traceEvents"]) {
      if (event["ph"] == "X") ++kinds[event["args"]["kind"]];
    }
    return kinds;
  };
  // All but the store, which waits for ever.
  EXPECT_EQ(kinds_of(stopped),
            (std::map<std::string, int>{{"copy", 2}, {"dma_load", 1}, {"wait", 1}, {"weight_load", 2}}));
  EXPECT_EQ(stopped.commands[5].end, e.timeline.commands[5].end);
  broken = {};
  broken.hung_commands = {0};
  const Timeline hung = time_until_stopped(e.commands, e.constants, {}, broken).value();
  EXPECT_EQ(kinds_of(hung),
            (std::map<std::string, int>{{"copy", 1}, {"dma_load", 1}, {"wait", 1}, {"weight_load", 2}}));
  EXPECT_EQ(hung.commands[0].end, hung.end_ticks);
  EXPECT_EQ(hung.commands[4].end, hung.end_ticks) << "what waits for it does so until the end";
  EXPECT_FALSE(hung.commands[5].begun());
}

TEST(TimelineTrace, AMachineStopsAtATime) {
  const Example e;
  Timeline cut = e.timeline;
  const int64_t middle = (e.timeline.commands[5].start + e.timeline.commands[5].end) / 2;  // of the copy
  stop_at(cut, middle);
  EXPECT_EQ(cut.end_ticks, middle);
  EXPECT_TRUE(cut.commands[5].begun());
  EXPECT_EQ(cut.commands[5].end, middle);
  EXPECT_FALSE(cut.commands[9].begun()) << "the store comes later";
  EXPECT_EQ(cut.commands[0].end, e.timeline.commands[0].end);
  Timeline none = e.timeline;
  stop_at(none, 0);
  EXPECT_TRUE(std::none_of(none.commands.begin(), none.commands.end(), [](const CommandTime& t) { return t.begun(); }));
  Timeline all = e.timeline;
  stop_at(all, e.timeline.end_ticks);
  EXPECT_EQ(all.layers.size(), e.timeline.layers.size());
}

TEST(ScratchpadUse, FromFirstWriteToLastRead) {
  const Example e;
  const auto use = scratchpad_use(e.commands, e.timeline);
  const auto& times = e.timeline.commands;
  const size_t load = 0, copy = 5, store = 9;
  const std::vector<ScratchpadUse> expected = {
      {times[load].start, 4096}, {times[copy].start, 8192}, {times[copy].end, 4096}, {times[store].end, 0}};
  EXPECT_EQ(use, expected);  // what core 1 fills is never read
  EXPECT_EQ(peak_bytes(use), 8192);
}

}  // namespace
}  // namespace hai::sd3403

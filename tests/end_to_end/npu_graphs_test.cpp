// Random integer networks compiled for the NPU with every form of tiling forced, run, and equal bit for bit to the
// reference; no two commands of different queues touch the same bytes without an order.
//
// A variant is a machine (little memory, one core) and what the compiler must choose (layers and stripes of a group,
// how a layer is cut). Each network runs as compiled by default and in several variants, so that some networks meet
// each. A failure names seed and variant and the first node whose value differs when it is an output;
// HAI_RANDOM_GRAPHS=count runs more seeds, HAI_RANDOM_GRAPHS_FROM=seed starts later.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

#include "ir/text.h"
#include "loaded_graph.h"
#include "mixed_integer_graph.h"
#include "npu_graph.h"
#include "npu_joined_graph.h"
#include "npu_program.h"

namespace hai {
namespace {

using testing::LoadedGraph;

struct Variant {
  std::string name;
  compiler::CompileOptions options;
};

compiler::CompileOptions npu_options() {
  compiler::CompileOptions options;
  options.device = "sd3403";
  options.sd3403.partition.least_macs = 0;
  return options;
}

std::vector<Variant> variants() {
  std::vector<Variant> out;
  const auto add = [&](std::string name, auto change) {
    compiler::CompileOptions options = npu_options();
    change(options.sd3403);
    out.push_back({std::move(name), std::move(options)});
  };
  using Options = sd3403::LowerOptions;
  for (const double sram : {16384.0, 65536.0, 262144.0, 2097152.0}) {
    for (const double cache : {4096.0, 16384.0, 131072.0}) {
      for (const double cores : {1.0, 2.0}) {
        add(fmt::format("scratchpad {}, cache {}, {} cores", sram, cache, cores), [&](Options& options) {
          options.machine.sram_bytes = sram;
          options.machine.weight_cache_bytes = cache;
          options.machine.cores = cores;
          options.machine.accumulator_bytes = cache == 4096.0 ? 1024.0 : 65536.0;
          options.machine.dma_channels = cores;
        });
      }
    }
  }
  for (const int64_t layers : {1, 2, 3, 5}) {
    for (const int64_t stripes : {2, 3, 5}) {
      for (const double sram : {32768.0, 2097152.0}) {
        add(fmt::format("groups of {} layers in {} stripes, scratchpad {}", layers, stripes, sram),
            [&](Options& options) {
              options.schedule.force_layers = layers;
              options.schedule.force_stripes = stripes;
              options.machine.sram_bytes = sram;
              options.machine.weight_cache_bytes = 32768;
            });
      }
    }
  }
  for (const auto& [split, name] :
       {std::pair{sd3403::Split::kRows, "rows"}, std::pair{sd3403::Split::kChannels, "channels"},
        std::pair{sd3403::Split::kOneCore, "one core"}, std::pair{sd3403::Split::kBranches, "branches"}}) {
    for (const double cache : {8192.0, 131072.0}) {
      add(fmt::format("split by {}, cache {}", name, cache), [&](Options& options) {
        options.emit.split = split;
        options.machine.weight_cache_bytes = cache;
        options.machine.accumulator_bytes = 2048;
        options.schedule.force_layers = 3;
        options.schedule.force_stripes = cache == 8192.0 ? 3 : 0;
      });
    }
  }
  for (const double sram : {16384.0, 32768.0}) {
    for (const auto& [halo, name] :
         {std::pair{sd3403::HaloChoice::kKept, "kept"}, std::pair{sd3403::HaloChoice::kRecomputed, "recomputed"}}) {
      add(fmt::format("halos {}, scratchpad {}", name, sram), [&](Options& options) {
        options.schedule.halo = halo;
        options.machine.sram_bytes = sram;
        options.machine.ddr_gigabytes = 1;
      });
    }
  }
  for (const int64_t layers : {2, 3, 5, 9}) {
    for (const int64_t stripes : {2, 3, 5}) {
      add(fmt::format("groups of {} layers in {} stripes, halos recomputed", layers, stripes), [&](Options& options) {
        options.schedule.halo = sd3403::HaloChoice::kRecomputed;
        options.schedule.force_layers = layers;
        options.schedule.force_stripes = stripes;
        options.machine.weight_cache_bytes = 32768;
      });
    }
  }
  for (const auto& [split, name] :
       {std::pair{sd3403::Split::kRows, "rows"}, std::pair{sd3403::Split::kChannels, "channels"},
        std::pair{sd3403::Split::kOneCore, "one core"}, std::pair{sd3403::Split::kBranches, "branches"}}) {
    add(fmt::format("split by {}, halos recomputed", name), [&](Options& options) {
      options.emit.split = split;
      options.schedule.halo = sd3403::HaloChoice::kRecomputed;
      options.schedule.force_layers = 4;
      options.schedule.force_stripes = 3;
    });
  }
  for (const double sram : {16384.0, 24576.0, 49152.0}) {
    add(fmt::format("no cascades, scratchpad {}", sram), [&](Options& options) {
      options.schedule.cascade = false;
      options.machine.sram_bytes = sram;
    });
  }
  return out;
}

std::vector<ops::Tensor> inputs_of(const ir::Graph& graph, uint32_t seed, int64_t batch) {
  std::mt19937 random(seed);
  std::vector<ops::Tensor> inputs;
  const std::vector<int64_t> symbols(graph.symbols.size(), batch);
  for (const ir::ValueId id : graph.inputs()) {
    const ir::TensorType& type = graph.value(id).type;
    ops::Tensor tensor = ops::Tensor::zeros(type.dtype, resolve(type.shape, symbols), type.quantization);
    const MutableTensorView view = tensor.mutable_view();
    for (int64_t i = 0; i < view.count(); ++i) {
      if (type.dtype == DataType::kF32) {
        data_of<float>(view)[i] = std::uniform_real_distribution<float>(-2.0F, 2.0F)(random);
      } else if (type.dtype == DataType::kI16) {
        data_of<int16_t>(view)[i] = static_cast<int16_t>(std::uniform_int_distribution<int>(-12000, 12000)(random));
      } else {
        data_of<uint8_t>(view)[i] = static_cast<uint8_t>(std::uniform_int_distribution<int>(0, 255)(random));
      }
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

// What the tests have seen.
struct Seen {
  int compared = 0;
  int64_t too_large = 0;  // operators that a machine is too small for
  int64_t striped = 0, recomputed = 0, spilled = 0, segments = 0, groups = 0;
  std::map<std::string, int> layers;  // by operator, on the NPU
  int64_t packs = 0;                  // commands that make weights of activations
  int64_t waiting_taps = 0;           // commands that leave sums of a transform
  int64_t half_taps = 0;              // commands that transform f16
  int64_t waiting_half_taps = 0;      // of these, the ones that leave sums
};

struct Case {
  const ir::Graph& graph;
  const std::vector<ops::Tensor>& inputs;
  const std::vector<ops::Tensor>& want;
  int64_t batch;
};

// What is wrong, or nothing.
std::string difference(const Case& test_case, const compiler::CompileOptions& options, Seen& seen) {
  const auto compiled = compiler::compile(test_case.graph, options);
  if (!compiled) return compiled.error().to_string();
  seen.too_large += std::count_if(compiled->report.placement.begin(), compiled->report.placement.end(),
                                  [](const compiler::PlacementRecord& placed) { return placed.too_large; });
  const auto programs = testing::npu_programs(compiled->file);
  const std::string race = testing::race_in(programs);
  if (!race.empty()) return race;
  for (const sd3403::SegmentReport& report : compiled->report.segments) {
    if (report.sram_bytes > static_cast<int64_t>(options.sd3403.machine.sram_bytes)) return "more SRAM than there is";
    seen.segments += 1;
    seen.groups += report.groups;
    seen.striped += report.stripes > report.groups ? 1 : 0;
    seen.recomputed += report.recomputed_groups;
    seen.spilled += static_cast<int64_t>(report.spilled.size());
  }
  for (const testing::NpuProgram& program : programs) {
    for (const sd3403::Command& command : program.commands) {
      const auto* c = std::get_if<sd3403::Convolve>(&command.body);
      if (c == nullptr || c->transform == sd3403::kDirect) continue;
      const bool half = c->input_type == sd3403::kF16;
      seen.half_taps += half ? 1 : 0;
      if (c->last_sum == 0) ++(half ? seen.waiting_half_taps : seen.waiting_taps);
    }
    seen.packs += std::count_if(program.commands.begin(), program.commands.end(), [](const sd3403::Command& command) {
      return std::holds_alternative<sd3403::WeightPack>(command.body);
    });
    for (size_t at = 0; at < program.layer_ops.size();) {
      const size_t end = program.layer_ops.find('\n', at);
      ++seen.layers[program.layer_ops.substr(at, end - at)];
      at = end + 1;
    }
  }
  LoadedGraph loaded(compiled->file);
  if (!loaded.error.empty()) return loaded.error;
  std::vector<ops::Tensor> got = testing::garbage_like(test_case.want);
  const std::string error = loaded.run({cpu::available_isas().back(), 1, test_case.batch}, test_case.inputs, got);
  if (!error.empty()) return error;
  seen.compared += programs.empty() ? 0 : 1;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto& a = got[i].storage;
    const auto& b = test_case.want[i].storage;
    const auto [at, _] = std::mismatch(a.begin(), a.end(), b.begin());
    if (at == a.end()) continue;
    return fmt::format("output {} of {} differs first at byte {}: {} instead of {}", i, to_string(got[i].dims),
                       at - a.begin(), static_cast<int>(*at), static_cast<int>(b[static_cast<size_t>(at - a.begin())]));
  }
  return {};
}

// Makes each value the only output in turn.
std::string first_wrong_node(const Case& test_case, const compiler::CompileOptions& options) {
  const auto order = test_case.graph.ordered();
  if (!order) return order.error().to_string();
  for (const ir::NodeId id : *order) {
    ir::Graph cut = test_case.graph;
    for (size_t i = 0; i < cut.outputs().size(); ++i) cut.set_output(i, cut.node(id).outputs[0]);
    cut.erase_dead();
    const auto want = ops::interpret(cut, test_case.inputs);
    if (!want) return want.error().to_string();
    Seen seen;
    const std::string wrong = difference({cut, test_case.inputs, want->outputs, test_case.batch}, options, seen);
    if (!wrong.empty()) return fmt::format("first at node {} ({}): {}", cut.node(id).name, cut.node(id).op, wrong);
  }
  return "no single node differs when it is an output";
}

void check(const ir::Graph& graph, uint32_t seed, const std::vector<Variant>& chosen, Seen& seen) {
  const int64_t batch = seed % 4 == 3 ? 3 : seed % 4 == 1 ? 2 : 1;
  const auto inputs = inputs_of(graph, seed, batch);
  const auto want = ops::interpret(graph, inputs);
  ASSERT_TRUE(want) << "seed " << seed << ": " << want.error().to_string();
  const Case test_case{graph, inputs, want->outputs, batch};
  for (const Variant& variant : chosen) {
    const std::string wrong = difference(test_case, variant.options, seen);
    if (wrong.empty()) continue;
    FAIL() << "seed " << seed << ", batch " << batch << ", " << variant.name << ": " << wrong << "\n"
           << first_wrong_node(test_case, variant.options) << "\n"
           << ir::print(graph, {16});
  }
}

uint32_t number(const char* name, uint32_t otherwise) {
  const char* given = std::getenv(name);
  return given != nullptr ? static_cast<uint32_t>(std::strtoul(given, nullptr, 10)) : otherwise;
}

// Networks that `build` makes, each in the default form and `each` others.
template <typename Build>
Seen check_all(uint32_t count, size_t each, Build build) {
  const std::vector<Variant> all = variants();
  Seen seen;
  const uint32_t first = number("HAI_RANDOM_GRAPHS_FROM", 0);
  for (uint32_t seed = first; seed < first + number("HAI_RANDOM_GRAPHS", count); ++seed) {
    std::vector<Variant> chosen = {{"default", npu_options()}};
    // 17 steps through the variants: has no factor with their number, so that all come.
    for (size_t i = 0; i < each; ++i) chosen.push_back(all[(seed * each + i) * 17 % all.size()]);
    check(build(seed), seed, chosen, seen);
    if (::testing::Test::HasFatalFailure()) break;
  }
  return seen;
}

bool is_shortened() { return std::getenv("HAI_RANDOM_GRAPHS") != nullptr; }

TEST(NpuGraphs, ConvolutionalNetworksGiveTheSameIntegersInEveryTiling) {
  const Seen seen = check_all(160, 6, [](uint32_t seed) { return testing::NpuGraph(seed).build(); });
  if (HasFatalFailure() || is_shortened()) return;
  EXPECT_GT(seen.compared, 950);
  EXPECT_LT(seen.too_large, 400)
      << "tables of 16-bit functions beside a small cache, tensors that must be whole in a small scratchpad";
  EXPECT_GT(seen.striped, 700);
  EXPECT_GT(seen.recomputed, 200);
  EXPECT_GT(seen.spilled, 10);
  EXPECT_GT(seen.packs, 500);
  EXPECT_GT(seen.waiting_taps, 100);
  EXPECT_GT(seen.half_taps, 100);
  EXPECT_GT(seen.waiting_half_taps, 10);
  EXPECT_GT(seen.groups, 4 * seen.segments);
  for (const std::string_view op : {"conv2d",
                                    "conv_transpose2d",
                                    "matmul",
                                    "add",
                                    "sub",
                                    "mul",
                                    "concat",
                                    "copy",
                                    "pad",
                                    "resize",
                                    "max_pool",
                                    "average_pool",
                                    "reduce_mean",
                                    "rescale",
                                    "silu",
                                    "tanh",
                                    "hard_sigmoid",
                                    "relu",
                                    "softmax",
                                    "layer_norm",
                                    "winograd_conv2d"}) {
    const auto at = seen.layers.find(std::string(op));
    EXPECT_TRUE(at != seen.layers.end() && at->second >= 5) << "hardly a layer of " << op << " on the NPU";
  }
}

// With operators of the CPU in between, so that segments begin and end everywhere.
TEST(NpuGraphs, NetworksOfEveryOperatorGiveTheSameIntegers) {
  const Seen seen = check_all(120, 3, [](uint32_t seed) { return testing::MixedIntegerGraph(seed).build(); });
  if (HasFatalFailure() || is_shortened()) return;
  EXPECT_GT(seen.compared, 420);
  EXPECT_LT(seen.too_large, 40);
  EXPECT_GT(seen.segments, seen.compared);
}

// The concatenation waits in external memory, and groups that end anywhere in it read and write it.
TEST(NpuGraphs, LayersWithinOneSpilledBufferGiveTheSameIntegersInEveryGroup) {
  std::vector<Variant> all;
  for (const double sram : {16384.0, 20480.0, 32768.0}) {
    for (const int64_t layers : {0, 1, 2, 3, 5}) {
      compiler::CompileOptions options = npu_options();
      options.sd3403.machine.sram_bytes = sram;
      options.sd3403.machine.ddr_gigabytes = 2;
      options.sd3403.schedule.cascade = layers != 1;
      options.sd3403.schedule.force_layers = layers;
      options.sd3403.schedule.force_stripes = layers < 2 ? 0 : 12;
      all.push_back({fmt::format("scratchpad {}, groups of {} layers", sram, layers), std::move(options)});
    }
  }
  Seen seen;
  const uint32_t first = number("HAI_RANDOM_GRAPHS_FROM", 0);
  for (uint32_t seed = first; seed < first + number("HAI_RANDOM_GRAPHS", 12); ++seed) {
    check(testing::NpuJoinedGraph(seed).build(), seed, all, seen);
    if (HasFatalFailure()) return;
  }
  if (is_shortened()) return;
  EXPECT_EQ(seen.compared, 180);
  EXPECT_EQ(seen.too_large, 0);
  EXPECT_GT(seen.spilled, 60);
  EXPECT_GT(seen.striped, 150);
}

}  // namespace
}  // namespace hai

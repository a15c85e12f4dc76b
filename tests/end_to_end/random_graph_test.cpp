// Random integer networks on every instruction set of this machine: compiled, written, loaded and run, with 1 and 2
// threads and several batches, equal bit for bit to the reference interpreter and so to each other.
//
// What the passes' own random networks leave out is here: all 8-bit operators, i8 and u8 mixed, channels beyond vector
// widths (mixed_integer_graph.h). A failure names seed, instruction set, threads and batch, and the first node whose
// value differs when it is made an output; HAI_RANDOM_GRAPHS=count runs more seeds.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "ir/text.h"
#include "loaded_graph.h"
#include "mixed_integer_graph.h"

namespace hai {
namespace {

using testing::garbage_like;
using testing::LoadedGraph;
using testing::Setting;

// The first difference in words, or nothing.
std::string difference(const ir::Graph& graph, LoadedGraph& loaded, const Setting& setting, uint32_t seed) {
  const auto inputs = passes::testing::random_inputs(graph, seed, setting.batch);
  const auto want = ops::interpret(graph, inputs);
  if (!want) return want.error().to_string();
  std::vector<ops::Tensor> got = garbage_like(want->outputs);
  const std::string error = loaded.run(setting, inputs, got);
  if (!error.empty()) return error;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto& a = got[i].storage;
    const auto& b = want->outputs[i].storage;
    const auto [at, _] = std::mismatch(a.begin(), a.end(), b.begin());
    if (at == a.end()) continue;
    const auto byte = static_cast<size_t>(at - a.begin());
    return fmt::format("output {} of {} differs first at byte {}: {} instead of {}", i, to_string(got[i].dims), byte,
                       static_cast<int>(a[byte]), static_cast<int>(b[byte]));
  }
  return {};
}

// Makes each value the only output in turn.
std::string first_wrong_node(const ir::Graph& graph, const Setting& setting, uint32_t seed) {
  const auto order = graph.ordered();
  if (!order) return order.error().to_string();
  for (const ir::NodeId id : *order) {
    ir::Graph cut = graph;
    for (size_t i = 0; i < cut.outputs().size(); ++i) cut.set_output(i, cut.node(id).outputs[0]);
    cut.erase_dead();
    LoadedGraph loaded(cut);
    const std::string wrong = loaded.error.empty() ? difference(cut, loaded, setting, seed) : loaded.error;
    if (!wrong.empty()) return fmt::format("first at node {} ({}): {}", graph.node(id).name, graph.node(id).op, wrong);
  }
  return "no single node differs when it is an output: look at fusion and memory planning";
}

uint32_t graph_count() {
  const char* wanted = std::getenv("HAI_RANDOM_GRAPHS");
  return wanted != nullptr ? static_cast<uint32_t>(std::strtoul(wanted, nullptr, 10)) : 120;
}

TEST(RandomGraphs, EveryInstructionSetGivesTheSameIntegers) {
  std::map<std::string, int> used;
  for (uint32_t seed = 0; seed < graph_count(); ++seed) {
    const ir::Graph graph = testing::MixedIntegerGraph(seed).build();
    for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
      if (graph.node(id).alive) ++used[graph.node(id).op];
    }
    LoadedGraph loaded(graph);
    ASSERT_TRUE(loaded.error.empty()) << "seed " << seed << ": " << loaded.error << "\n" << ir::print(graph, {16});
    for (const cpu::Isa isa : cpu::available_isas()) {
      for (const Setting& setting : {Setting{isa, 1, 1}, Setting{isa, 2, 3}}) {
        const std::string wrong = difference(graph, loaded, setting, seed);
        if (wrong.empty()) continue;
        FAIL() << "seed " << seed << " on " << cpu::isa_name(isa) << ", " << setting.threads << " threads, batch "
               << setting.batch << ": " << wrong << "\n"
               << first_wrong_node(graph, setting, seed) << "\n"
               << ir::print(graph, {16});
      }
    }
  }
  if (graph_count() < 100) return;
  for (const std::string_view op :
       {"conv2d", "matmul",  "add",      "sub",        "mul",    "min",      "max",          "concat",      "split",
        "slice",  "pad",     "reshape",  "transpose",  "resize", "max_pool", "average_pool", "reduce_mean", "softmax",
        "clip",   "rescale", "quantize", "dequantize", "relu",   "silu",     "layer_norm"}) {
    EXPECT_GT(used[std::string(op)], 0) << "the generator never made " << op;
  }
}

}  // namespace
}  // namespace hai

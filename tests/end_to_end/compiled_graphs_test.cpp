// Random networks through compile(), the file format and the runtime, against the reference interpreter.
//
// Integers are equal bit for bit, whatever passes are off; f32 is within the tolerance that the conformance suite
// states for one operator, times the depth of these networks.
#include <gtest/gtest.h>

#include "loaded_graph.h"
#include "passes/testing/graph_builder.h"
#include "passes/testing/random_graph.h"

namespace hai {
namespace {

using passes::testing::expect_same;
using passes::testing::random_float_graph;
using passes::testing::random_inputs;
using passes::testing::random_integer_graph;

constexpr double kTolerance = 1e-4;

void expect_device_equals_reference(const ir::Graph& graph, const compiler::CompileOptions& options, uint32_t seed,
                                    std::initializer_list<int64_t> batches) {
  testing::LoadedGraph device(graph, options);
  ASSERT_EQ(device.error, "");
  for (const int64_t batch : batches) {
    const auto inputs = random_inputs(graph, seed, batch);
    const auto expected = ops::interpret(graph, inputs);
    ASSERT_TRUE(expected) << expected.error().to_string();
    std::vector<ops::Tensor> outputs = testing::garbage_like(expected->outputs);
    ASSERT_EQ(device.run({cpu::available_isas().back(), 2, batch}, inputs, outputs), "");
    for (size_t i = 0; i < outputs.size(); ++i) {
      expect_same(expected->outputs[i].view(), outputs[i].view(), kTolerance, graph.value(graph.outputs()[i]).name);
      ASSERT_FALSE(::testing::Test::HasFailure()) << "output " << i << ", batch " << batch;
    }
  }
}

TEST(CompiledGraphs, IntegersAreEqual) {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    expect_device_equals_reference(random_integer_graph(seed), {}, seed, {1, 3, 16});
    if (HasFailure()) return;
  }
}

TEST(CompiledGraphs, FloatsAreClose) {
  for (uint32_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    expect_device_equals_reference(random_float_graph(seed), {}, seed, {1, 5});
    if (HasFailure()) return;
  }
}

TEST(CompiledGraphs, EachPassOffInTurn) {
  for (const std::string& name : compiler::pass_names()) {
    if (name == "fuse_quantization") continue;  // not optional
    compiler::CompileOptions options;
    options.disabled_passes = {name};
    for (uint32_t seed = 400; seed < 415; ++seed) {
      SCOPED_TRACE(name + " off, seed " + std::to_string(seed));
      expect_device_equals_reference(random_integer_graph(seed), options, seed, {2});
      expect_device_equals_reference(random_float_graph(seed), options, seed, {2});
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace hai

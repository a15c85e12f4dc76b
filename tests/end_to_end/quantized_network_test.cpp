// A small network of what the quantizer knows, quantized to every precision, on every instruction set of this machine,
// with 1 and 2 threads: equal to the reference interpreter.
//
// Twice each: as it comes, where layers are fused, and with each integer tensor inside as an output of its own, which
// shows every rounding. Integers are equal bit for bit, and so are the f32 results made of them; with integer weights
// alone activations are f32, and within the tolerance of sums in another order.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "loaded_graph.h"
#include "passes/testing/graph_builder.h"
#include "quantizer/quantizer.h"

namespace hai {
namespace {

using passes::testing::GraphBuilder;
using passes::testing::random_inputs;
using testing::garbage_like;
using testing::LoadedGraph;
using testing::Setting;

using Ints = std::vector<int64_t>;

constexpr double kTolerance = 1e-4;  // of f32 layers, as a part of the largest value: kFloatTolerance for a few of them

struct Network : GraphBuilder {
  Network() : GraphBuilder(17) {
    graph.symbols.push_back({"N", 1, 4});
    const ir::ValueId x = input({Dim(1, 0), Dim(13), Dim(11), Dim(3)});
    const ir::ValueId stem = node("silu", {conv(x, 3, 19, 3, 1)});
    const ir::ValueId sum = node("add", {conv(stem, 19, 19, 3, 1), stem});
    const ir::ValueId gated = node("mul", {sum, node("sigmoid", {conv(sum, 19, 19, 1, 1)})});
    const ir::ValueId joined = node("concat", {gated, stem}, {{"axis", int64_t{3}}});
    const ir::ValueId pooled =
        node("average_pool", {joined}, {{"kernel", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}});
    const ir::ValueId up = node("resize", {pooled}, {{"mode", "linear"}, {"sizes", Ints{13, 11}}});
    const ir::ValueId near = node("resize", {pooled}, {{"mode", "nearest"}, {"sizes", Ints{13, 11}}});
    const ir::ValueId depthwise =
        node("hard_swish", {conv(node("concat", {up, near}, {{"axis", int64_t{3}}}), 76, 76, 3, 76)});
    const ir::ValueId most = node("max_pool", {depthwise}, {{"kernel", Ints{2, 2}}, {"strides", Ints{2, 2}}});
    const ir::ValueId mean = node("reduce_mean", {most}, {{"axes", Ints{1, 2}}, {"keep_dims", int64_t{0}}});
    const ir::ValueId hidden = node("relu", {node("matmul", {mean, constant({76, 33}, -0.3F, 0.3F)})});
    graph.add_output(node("matmul", {hidden, constant({33, 7}, -0.4F, 0.4F)}));
  }

  ir::ValueId conv(ir::ValueId x, int64_t in, int64_t out, int64_t kernel, int64_t groups) {
    const float largest = 2.0F / std::sqrt(static_cast<float>(in / groups * kernel * kernel));
    const ir::ValueId weights = constant({out, kernel, kernel, in / groups}, -largest, largest);
    const int64_t pad = kernel / 2;
    return node("conv2d", {x, weights, constant({out}, -0.2F, 0.2F)},
                {{"pads", Ints{pad, pad, pad, pad}}, {"groups", groups}});
  }
};

ir::Graph quantized(std::string_view precision, bool wide_points) {
  const ir::Graph graph = Network().graph;
  quantizer::QuantizeOptions options;
  options.precision = *quantizer::parse_precision(precision);
  options.wide_points = wide_points;
  options.self_check = false;  // it runs on the device that is tested here
  options.threads = 2;
  uint32_t count = 0;
  auto result = quantizer::quantize(
      graph,
      [&]() -> Result<std::optional<std::vector<ops::Tensor>>> {
        if (count == 6) return std::optional<std::vector<ops::Tensor>>();
        return std::optional<std::vector<ops::Tensor>>(random_inputs(graph, 50 + count++));
      },
      options);
  EXPECT_TRUE(result) << result.error().to_string();
  return result ? std::move(result->graph) : ir::Graph();
}

// Every integer that a node computes is an output too; returns of which types there are.
std::set<DataType> show_integers(ir::Graph& graph) {
  std::set<DataType> types;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    if (!graph.node(id).alive) continue;
    for (const ir::ValueId value : std::vector<ir::ValueId>(graph.node(id).outputs)) {
      const DataType dtype = graph.value(value).type.dtype;
      if (!is_integer(dtype)) continue;
      types.insert(dtype);
      if (!graph.is_output(value)) graph.add_output(value);
    }
  }
  return types;
}

void expect_equal(const ops::Tensor& want, const ops::Tensor& got, bool exact, const std::string& what) {
  if (!exact) return passes::testing::expect_same(want.view(), got.view(), kTolerance, what);
  ASSERT_EQ(want.storage.size(), got.storage.size()) << what;
  const auto [at, _] = std::mismatch(want.storage.begin(), want.storage.end(), got.storage.begin());
  ASSERT_TRUE(at == want.storage.end()) << what << " differs first at byte " << at - want.storage.begin();
}

void expect_device_equals_reference(const ir::Graph& graph, bool exact) {
  LoadedGraph loaded(graph);
  ASSERT_EQ(loaded.error, "");
  for (const int64_t batch : {1, 3}) {
    const auto inputs = random_inputs(graph, 7, batch);
    const auto want = ops::interpret(graph, inputs);
    ASSERT_TRUE(want) << want.error().to_string();
    for (const cpu::Isa isa : cpu::available_isas()) {
      for (const int threads : {1, 2}) {
        std::vector<ops::Tensor> got = garbage_like(want->outputs);
        ASSERT_EQ(loaded.run({isa, threads, batch}, inputs, got), "");
        for (size_t i = 0; i < got.size(); ++i) {
          expect_equal(want->outputs[i], got[i], exact,
                       fmt::format("{} on {}, {} threads, batch {}", graph.value(graph.outputs()[i]).name,
                                   cpu::isa_name(isa), threads, batch));
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

struct Case {
  const char* precision;
  bool wide_points;
  std::set<DataType> integers;  // of activations
};

TEST(QuantizedNetwork, EveryPrecisionEqualsTheReference) {
  const std::set<DataType> eight = {DataType::kI8};
  const std::set<DataType> wide = {DataType::kI8, DataType::kI16};
  const std::set<DataType> sixteen = {DataType::kI16};
  for (const Case& test :
       {Case{"w8a8", true, wide}, Case{"w8a8", false, eight}, Case{"w4a8", true, wide}, Case{"w4a8", false, eight},
        Case{"w8a16", true, sixteen}, Case{"w16a16", true, sixteen}, Case{"w8", true, {}}, Case{"w4", true, {}}}) {
    SCOPED_TRACE(fmt::format("{}, wide points {}", test.precision, test.wide_points));
    ir::Graph graph = quantized(test.precision, test.wide_points);
    const bool exact = !test.integers.empty();
    expect_device_equals_reference(graph, exact);
    if (HasFatalFailure()) return;
    EXPECT_EQ(show_integers(graph), test.integers);
    if (exact) expect_device_equals_reference(graph, exact);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace hai

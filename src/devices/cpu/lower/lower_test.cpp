#include "devices/cpu/lower/lower.h"

#include <gtest/gtest.h>

#include "devices/cpu/lower/lower_registry.h"
#include "devices/cpu/lower/supports.h"
#include "passes/testing/graph_builder.h"
#include "passes/testing/random_graph.h"

namespace hai::cpu {
namespace {

using format::TensorPlace;
using passes::testing::GraphBuilder;

// Lowers with a weights section that only counts.
struct Lowered {
  Result<format::Program> program = format::Program();
  int64_t weights_bytes = 0;
};
Lowered lower_graph(const ir::Graph& graph, const LowerOptions& options = {}) {
  Lowered result;
  const AddWeights add = [&](std::span<const std::byte> bytes, const std::shared_ptr<const void>&) {
    const int64_t offset = (result.weights_bytes + 63) / 64 * 64;
    result.weights_bytes = offset + static_cast<int64_t>(bytes.size());
    return offset;
  };
  result.program = lower(graph, add, options);
  return result;
}

void expect_valid(const Lowered& lowered) {
  ASSERT_TRUE(lowered.program) << lowered.program.error().to_string();
  const Status status = format::verify_program(*lowered.program, lowered.weights_bytes);
  EXPECT_TRUE(status) << status.error().to_string();
}

TEST(Supports, RefusalsSayWhatToDo) {
  GraphBuilder b;
  const auto x = b.graph.add_input("x", {DataType::kI64, to_shape(std::vector<int64_t>{13}), {}});
  b.graph.add_output(x);
  ir::Node node;
  node.op = "relu";
  node.inputs = {x};
  const Status type = supports_operand(b.graph, node, 0, ops::set_of({DataType::kF32}));
  ASSERT_FALSE(type);
  EXPECT_EQ(type.error().id, "C030");
  EXPECT_NE(type.error().message.find("convert the tensor"), std::string::npos) << type.error().message;
  const Status multiplier = supports_multiplier(node, 1e9F);
  ASSERT_FALSE(multiplier);
  EXPECT_EQ(multiplier.error().id, "C032");
  EXPECT_NE(multiplier.error().message.find("keep the node in f32"), std::string::npos) << multiplier.error().message;
}

// The proof needs types only: sums of 33,025 products of 8 bits fit 31 bits, of one more they may not.
TEST(Supports, ProductsOfTwoActivationsWhoseSumsMayNotFitAreRefused) {
  for (const int64_t depth : {33025, 33026}) {
    GraphBuilder b;
    const auto a = b.input({Dim(2), Dim(depth)}, per_tensor_quantization(0.01F, -128));
    const auto c = b.input({Dim(depth), Dim(3)}, per_tensor_quantization(0.01F, 127));
    b.graph.add_output(b.node("matmul", {a, c}, {}, b.quantization()));
    const Lowered lowered = lower_graph(b.graph);
    ASSERT_EQ(lowered.program.has_value(), depth == 33025);
    if (lowered.program) continue;
    const std::string text = lowered.program.error().to_string();
    EXPECT_NE(text.find("8421630 * 255"), std::string::npos) << text;
  }
}

TEST(Supports, ABatchOfIntegerConstantsNeedsOneScale) {
  for (const bool per_channel : {false, true}) {
    GraphBuilder b;
    const auto a = b.input({Dim(2), Dim(5), Dim(7)}, b.quantization());
    const int64_t dims[] = {2, 7, 3};
    const auto c = per_channel ? b.weights_i8({2, 7, 3}, 2)
                               : ops::add_constant_i8(b.graph, "c", dims, std::vector<int8_t>(42, 5),
                                                      per_tensor_quantization(0.01F, -3));
    b.graph.add_output(b.node("matmul", {a, c}, {}, b.quantization()));
    EXPECT_EQ(lower_graph(b.graph).program.has_value(), !per_channel);
  }
}

TEST(Lower, PlacesInputsOutputsConstantsAndIntermediates) {
  GraphBuilder b;
  b.graph.symbols = {{"batch", 1, 16}};
  const auto x = b.input({Dim(1, 0), Dim(13)});
  const auto fixed = b.node("exp", {b.constant({13})});
  const auto y = b.node("add", {b.node("tanh", {x}), fixed});
  b.graph.add_output(b.node("sigmoid", {y}));
  const Lowered lowered = lower_graph(b.graph);
  expect_valid(lowered);
  const format::Program& program = *lowered.program;
  EXPECT_EQ(program.instructions.size(), 4U);
  EXPECT_EQ(program.tensors[program.inputs[0]].place, TensorPlace::kInput);
  EXPECT_EQ(program.tensors[program.outputs[0]].place, TensorPlace::kOutput);
  const auto count = [&](TensorPlace place) {
    return std::count_if(program.tensors.begin(), program.tensors.end(),
                         [&](const auto& t) { return t.place == place; });
  };
  EXPECT_EQ(count(TensorPlace::kConstant), 1);
  EXPECT_EQ(count(TensorPlace::kPerSample), 2);
  EXPECT_EQ(count(TensorPlace::kFixed), 1);
  EXPECT_EQ(program.per_sample_bytes, 64);  // add works in the place of tanh's result
  EXPECT_EQ(program.fixed_bytes, 64);
}

TEST(Lower, SharingCanBeSwitchedOff) {
  GraphBuilder b;
  auto y = b.input({Dim(100)});
  for (int i = 0; i < 4; ++i) y = b.node("tanh", {y});
  b.graph.add_output(y);
  LowerOptions apart;
  apart.share_buffers = false;
  EXPECT_EQ(lower_graph(b.graph).program->fixed_bytes, 448);
  EXPECT_EQ(lower_graph(b.graph, apart).program->fixed_bytes, 896);
}

TEST(Lower, ViewsNeedNoInstruction) {
  GraphBuilder b;
  auto y = b.node("tanh", {b.input({Dim(4), Dim(6)})});
  y = b.node("reshape", {y}, {{"shape", std::vector<int64_t>{24}}});
  y = b.node("reshape", {b.node("exp", {y})}, {{"shape", std::vector<int64_t>{2, 12}}});
  b.graph.add_output(y);
  const Lowered lowered = lower_graph(b.graph);
  expect_valid(lowered);
  EXPECT_EQ(lowered.program->instructions.size(), 2U);
}

TEST(Lower, OutputsThatViewInputsConstantsOrOtherOutputsAreCopied) {
  GraphBuilder b;
  const auto x = b.input({Dim(4), Dim(6)});
  const auto flat = [&](ir::ValueId v) { return b.node("reshape", {v}, {{"shape", std::vector<int64_t>{24}}}); };
  b.graph.add_output(flat(x));
  b.graph.add_output(flat(b.constant({4, 6})));
  const auto y = b.node("tanh", {x});
  b.graph.add_output(flat(y));
  b.graph.add_output(b.node("reshape", {y}, {{"shape", std::vector<int64_t>{8, 3}}}));
  b.graph.add_output(y);
  const Lowered lowered = lower_graph(b.graph);
  expect_valid(lowered);
  EXPECT_EQ(lowered.program->instructions.size(), 5U);  // tanh and four copies
}

TEST(Lower, NamesTheOperatorItLacks) {
  GraphBuilder b;
  const auto x = b.graph.add_input("x", {DataType::kF64, {Dim(3)}, std::nullopt});
  b.graph.add_output(b.node("tanh", {b.node("tanh", {x})}));
  const Lowered lowered = lower_graph(b.graph);
  ASSERT_FALSE(lowered.program);
  const std::string text = lowered.program.error().to_string();
  EXPECT_NE(text.find("tanh"), std::string::npos) << text;
  EXPECT_NE(text.find("1 more node"), std::string::npos) << text;
}

TEST(Lower, RandomNetworksGiveValidProgramsNearTheLowerBound) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    for (const ir::Graph& graph :
         {passes::testing::random_integer_graph(seed), passes::testing::random_float_graph(seed)}) {
      const Lowered lowered = lower_graph(graph);
      expect_valid(lowered);
      if (HasFailure()) FAIL() << "seed " << seed;
      const int64_t arena = lowered.program->per_sample_bytes + lowered.program->fixed_bytes;
      EXPECT_GE(arena, lowered.program->arena_lower_bound_bytes);
      EXPECT_LE(static_cast<double>(arena), 1.3 * static_cast<double>(lowered.program->arena_lower_bound_bytes))
          << seed;
      EXPECT_TRUE(*lower_graph(graph).program == *lowered.program) << seed;
    }
  }
}

}  // namespace
}  // namespace hai::cpu

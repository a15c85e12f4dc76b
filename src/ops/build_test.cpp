// append(), verify(), reinfer() and the interpreter on graphs that break the rules: each a clear error, the graph as it
// was.
#include "ops/build.h"

#include <gtest/gtest.h>

#include <limits>

#include "ops/inference.h"
#include "ops/interpreter.h"
#include "ops/verify.h"

namespace hai::ops {
namespace {

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

ir::Graph graph_with(Shape shape, DataType dtype = DataType::kF32, std::optional<Quantization> quantization = {}) {
  ir::Graph graph;
  graph.name = "test";
  graph.symbols = {{"N", 1, 16}, {"M", 1, 1 << 20}};
  graph.add_input("x", {dtype, std::move(shape), std::move(quantization)});
  return graph;
}

struct Refusal {
  const char* name;
  const char* op;
  std::vector<ir::ValueId> inputs;
  ir::Attributes attributes;
  const char* id;
};
void PrintTo(const Refusal& refusal, std::ostream* stream) { *stream << refusal.name; }

class Refused : public testing::TestWithParam<Refusal> {};

TEST_P(Refused, WithItsIdAndWithoutAChange) {
  const Refusal& refusal = GetParam();
  ir::Graph graph = graph_with({Dim(13), Dim(19)});
  const auto id = append(graph, refusal.op, refusal.inputs, refusal.attributes);
  ASSERT_FALSE(id);
  EXPECT_EQ(id.error().id, refusal.id) << id.error().to_string();
  EXPECT_FALSE(id.error().message.empty());
  EXPECT_EQ(graph.node_slots(), 0U);
  EXPECT_EQ(graph.value_slots(), 1U);
  EXPECT_TRUE(graph.value(0).uses.empty());
}

const Refusal kRefusals[] = {
    {"unknown_operator", "flux_capacitor", {0}, {}, "O007"},
    {"too_few_operands", "add", {0}, {}, "O001"},
    {"too_many_operands", "relu", {0, 0}, {}, "O001"},
    {"required_operand_absent", "add", {0, ir::kNone}, {}, "O002"},
    {"operand_does_not_exist", "relu", {77}, {}, "O041"},
    {"unknown_attribute", "relu", {0}, {{"slope", 1.0}}, "O003"},
    {"attribute_of_another_kind", "leaky_relu", {0}, {{"alpha", int64_t{1}}}, "O004"},
    {"attribute_not_a_number", "leaky_relu", {0}, {{"alpha", std::numeric_limits<double>::quiet_NaN()}}, "O005"},
    {"required_attribute_missing", "cast", {0}, {}, "O006"},
    {"axis_out_of_range", "softmax", {0}, {{"axis", int64_t{2}}}, "O015"},
    {"axis_at_the_limit", "softmax", {0}, {{"axis", std::numeric_limits<int64_t>::min()}}, "O015"},
    {"cast_to_nonsense", "cast", {0}, {{"dtype", std::string("f31")}}, "O218"},
    {"clip_upside_down", "clip", {0}, {{"min", 1.0}, {"max", 0.0}}, "O210"},
    {"quantize_without_a_type", "quantize", {0}, {}, "O213"},
    {"rescale_of_floats", "rescale", {0}, {}, "O010"},
};
INSTANTIATE_TEST_SUITE_P(Append, Refused, testing::ValuesIn(kRefusals),
                         [](const testing::TestParamInfo<Refusal>& refusal) { return refusal.param.name; });

TEST(Append, BroadcastShapes) {
  ir::Graph graph = graph_with({Dim(1, 0), Dim(13), Dim(1)});
  const ir::ValueId row = graph.add_input("row", {DataType::kF32, {Dim(19)}, {}});
  const auto sum = append_value(graph, "add", {0, row});
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(graph.value(*sum).type.shape, (Shape{Dim(1, 0), Dim(13), Dim(19)}));
  const ir::ValueId wrong = graph.add_input("wrong", {DataType::kF32, {Dim(7), Dim(13), Dim(1)}, {}});
  const auto refused = append_value(graph, "add", {0, wrong});  // 7 against N
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().id, "O021");
}

TEST(Append, ProductsPastTheLimitsAreRefused) {
  for (const Shape& shape : {Shape{Dim(kHuge), Dim(2)}, Shape{Dim(int64_t{1} << 40), Dim(int64_t{1} << 40)},
                             Shape{Dim(kHuge, 0)}, Shape{Dim(1, 0), Dim(1, 1)}}) {
    ir::Graph graph = graph_with(shape);
    EXPECT_FALSE(append(graph, "relu", {0})) << to_string(shape, graph.symbols);
  }
  ir::Graph empty = graph_with({Dim(0), Dim(kHuge)});  // no element at all
  EXPECT_TRUE(append(empty, "relu", {0}));
  ir::Graph outer = graph_with({Dim(int64_t{1} << 30), Dim(1)});
  const ir::ValueId row = outer.add_input("row", {DataType::kF32, {Dim(int64_t{1} << 30)}, {}});
  const auto product = append_value(outer, "mul", {0, row});
  ASSERT_FALSE(product);
  EXPECT_EQ(product.error().id, "O037");
}

TEST(Append, QuantizedOperandsNeedDeclaredOutputs) {
  const Quantization scale = per_tensor_quantization(0.05F, 3);
  ir::Graph graph = graph_with({Dim(13)}, DataType::kI8, scale);
  EXPECT_EQ(append(graph, "relu", {0}).error().id, "O022");
  AppendOptions options;
  options.declared = {ir::TensorType{DataType::kI32, {}, scale}};
  EXPECT_EQ(append(graph, "relu", {0}, {}, options).error().id, "O023");
  options.declared = {ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.0F, 0)}};
  EXPECT_EQ(append(graph, "relu", {0}, {}, options).error().id, "O032");
  options.declared = {ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.1F, 300)}};
  EXPECT_EQ(append(graph, "relu", {0}, {}, options).error().id, "O033");
  options.declared = {ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.1F, -128)}};
  EXPECT_TRUE(append(graph, "relu", {0}, {}, options));
  options.declared = {ir::TensorType{DataType::kI8, {}, per_tensor_quantization(1e-30F, 0)}};
  const auto out_of_reach = append(graph, "add", {0, 0}, {}, options);
  ASSERT_FALSE(out_of_reach);
  EXPECT_EQ(out_of_reach.error().id, "O205");
  EXPECT_NE(out_of_reach.error().message.find("keep the node in f32"), std::string::npos);
}

TEST(Append, ADeclaredTypeThatCannotBeIsRefused) {
  ir::Graph graph = graph_with({Dim(13)});
  AppendOptions options;
  options.declared = {ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.1F, 0)}};
  EXPECT_EQ(append(graph, "relu", {0}, {}, options).error().id, "O040");
}

TEST(Verify, FindsAStoredTypeThatInferenceDoesNotGive) {
  ir::Graph graph = graph_with({Dim(13), Dim(19)});
  const ir::ValueId y = append_value(graph, "relu", {0}).value();
  graph.add_output(y);
  ASSERT_TRUE(verify(graph));
  graph.value(y).type.shape[0] = Dim(14);
  const Status status = verify(graph);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().id, "O009") << status.error().to_string();
  graph.value(0).type.shape[0] = Dim(14);
  EXPECT_TRUE(reinfer(graph));
  EXPECT_TRUE(verify(graph));
}

TEST(Interpret, ChecksInputsAndSymbols) {
  ir::Graph graph = graph_with({Dim(1, 0), Dim(3)});
  graph.symbols.resize(1);
  graph.add_output(append_value(graph, "relu", {0}).value());
  const auto run = [&](DataType dtype, Dims dims) {
    const std::vector<Tensor> inputs = {Tensor::zeros(dtype, dims)};
    return interpret(graph, inputs);
  };
  EXPECT_TRUE(run(DataType::kF32, {16, 3}));
  EXPECT_EQ(run(DataType::kF32, {17, 3}).error().id, "O050");
  EXPECT_EQ(run(DataType::kF32, {0, 3}).error().id, "O050");
  EXPECT_EQ(run(DataType::kF32, {2, 4}).error().id, "O051");
  EXPECT_EQ(run(DataType::kF64, {2, 3}).error().id, "O051");
  EXPECT_EQ(run(DataType::kF32, {2}).error().id, "O051");
  EXPECT_EQ(interpret(graph, {}).error().id, "O053");
  std::vector<Tensor> short_bytes = {Tensor::zeros(DataType::kF32, {2, 3})};
  short_bytes[0].storage.resize(7);
  EXPECT_EQ(interpret(graph, short_bytes).error().id, "O051");
}

TEST(PlainIntegers, OverflowAndDivisionByZeroAreErrors) {
  for (const auto& [op, a, b] : {std::tuple{"add", kHuge, int64_t{1}},
                                 {"sub", -kHuge, int64_t{2}},
                                 {"mul", kHuge, int64_t{2}},
                                 {"div", int64_t{5}, int64_t{0}},
                                 {"div", std::numeric_limits<int64_t>::min(), int64_t{-1}},
                                 {"pow", int64_t{10}, int64_t{19}},
                                 {"pow", int64_t{10}, kHuge}}) {
    ir::Graph graph;
    const ir::ValueId left = add_constant_i64(graph, "a", {}, std::vector{a});
    const ir::ValueId right = add_constant_i64(graph, "b", {}, std::vector{b});
    graph.add_output(append_value(graph, op, {left, right}).value());
    const auto result = interpret(graph, {});
    ASSERT_FALSE(result) << op << " " << a << " " << b;
    EXPECT_EQ(result.error().id, "O203");
  }
}

TEST(Inference, DescribesSetsOfTypes) {
  EXPECT_EQ(describe(kQuantized8), "i8 or u8");
  EXPECT_EQ(describe(set_of({DataType::kF32, DataType::kI8, DataType::kU8})), "f32, i8 or u8");
}

}  // namespace
}  // namespace hai::ops

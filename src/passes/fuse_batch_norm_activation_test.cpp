// fuse_batch_norm_activation: a step with relu and relu6 behind batch norms gives the same numbers before and after.
#include <gtest/gtest.h>

#include <random>

#include "ops/build.h"
#include "ops/interpreter.h"
#include "ops/reference.h"
#include "ops/verify.h"
#include "passes/differentiate.h"
#include "passes/passes.h"

namespace hai::passes {
namespace {

using ir::ValueId;

struct Step {
  ir::Graph graph;
  std::vector<ops::Tensor> inputs;

  ValueId input(Shape shape, double low, double high) {
    const ir::TensorType type{DataType::kF64, std::move(shape), std::nullopt};
    ops::Tensor tensor = ops::Tensor::zeros(type.dtype, resolve(type.shape, {}));
    std::mt19937 random(static_cast<uint32_t>(inputs.size()) + 1);
    std::uniform_real_distribution<double> uniform(low, high);
    for (int64_t i = 0; i < tensor.dims.count(); ++i) ops::store_f64(tensor.mutable_view(), i, uniform(random));
    inputs.push_back(std::move(tensor));
    return graph.add_input("x", type);
  }
  ValueId normalised(ValueId x) {
    const auto vector = [&](double low, double high) { return input({Dim(3)}, low, high); };
    std::vector<ValueId> operands = {x, vector(3.0, 4.0), vector(1.0, 2.0), vector(-1.0, 1.0), vector(0.5, 1.0)};
    wanted.push_back(operands[1]);
    wanted.push_back(operands[2]);
    const auto node = ops::append(graph, "batch_norm_train", std::move(operands));
    EXPECT_TRUE(node);
    graph.add_output(graph.node(*node).outputs[3]);
    return graph.node(*node).outputs[0];
  }
  ValueId node(std::string_view op, std::vector<ValueId> operands, ir::Attributes attributes = {}) {
    const auto value = ops::append_value(graph, op, std::move(operands), std::move(attributes));
    EXPECT_TRUE(value) << (value ? "" : value.error().to_string());
    return *value;
  }
  void differentiate_from(ValueId y) {
    const ValueId loss = node("reduce_mean", {node("square", {y})}, {{"keep_dims", int64_t{0}}});
    graph.add_output(loss);
    const auto gradients = differentiate(graph, loss, wanted);
    ASSERT_TRUE(gradients) << gradients.error().to_string();
    for (const ValueId gradient : *gradients) graph.add_output(gradient);
    graph.erase_dead();
  }
  std::vector<ValueId> wanted;
};

int64_t count_of(const ir::Graph& graph, std::string_view op) {
  int64_t count = 0;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id)
    count += graph.node(id).alive && graph.node(id).op == op ? 1 : 0;
  return count;
}

void expect_same(const Step& step, int64_t changes) {
  ir::Graph fused = step.graph;
  const auto stats = fuse_batch_norm_activation(fused);
  ASSERT_TRUE(stats);
  EXPECT_EQ(stats->changes, changes);
  const Status verified = ops::verify(fused);
  ASSERT_TRUE(verified) << verified.error().to_string();
  const auto before = ops::interpret(step.graph, step.inputs);
  const auto after = ops::interpret(fused, step.inputs);
  ASSERT_TRUE(before && after);
  ASSERT_EQ(before->outputs.size(), after->outputs.size());
  for (size_t i = 0; i < before->outputs.size(); ++i) {
    EXPECT_EQ(ops::load_all_f64(before->outputs[i].view()), ops::load_all_f64(after->outputs[i].view())) << i;
  }
}

TEST(FuseBatchNormActivation, ForwardAndBackwardGiveTheSameNumbers) {
  for (const char* activation : {"relu", "relu6"}) {
    Step step;
    const ValueId x = step.input({Dim(4), Dim(5), Dim(3)}, -1.0, 1.0);
    const ValueId w = step.input({Dim(3), Dim(3)}, -1.0, 1.0);
    step.wanted = {x, w};
    const ValueId first = step.node(activation, {step.normalised(x)});
    const ValueId second = step.node(activation, {step.normalised(step.node("matmul", {first, w}))});
    step.differentiate_from(step.node("add", {second, first}));
    ASSERT_EQ(count_of(step.graph, "unary_gradient"), 2 + 1);  // and that of the square
    expect_same(step, 2);
  }
}

TEST(FuseBatchNormActivation, AValueThatOthersReadStays) {
  Step step;
  const ValueId x = step.input({Dim(4), Dim(5), Dim(3)}, -1.0, 1.0);
  step.wanted = {x};
  const ValueId v = step.normalised(x);
  step.differentiate_from(step.node("add", {step.node("relu", {v}), v}));
  expect_same(step, 0);
}

TEST(FuseBatchNormActivation, WithoutABackwardStep) {
  Step step;
  const ValueId y = step.node("relu6", {step.normalised(step.input({Dim(4), Dim(3)}, -1.0, 1.0))});
  step.graph.add_output(y);
  expect_same(step, 1);
}

}  // namespace
}  // namespace hai::passes

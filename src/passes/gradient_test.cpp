// Gradients: every operator's rule against finite differences in f64, and differentiate() on graphs of several nodes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ops/build.h"
#include "ops/gradient.h"
#include "ops/interpreter.h"
#include "ops/reference.h"
#include "ops/sample_inputs.h"
#include "ops/verify.h"
#include "passes/differentiate.h"
#include "passes/passes.h"
#include "passes/testing/graph_builder.h"

namespace hai::passes {
namespace {

using ir::kNone;
using ir::ValueId;
using testing::GraphBuilder;

// Central differences in f64 with steps of 1e-5: truncation and rounding both stay under 1e-9 of the largest value
// here.
constexpr double kStep = 1e-5;
constexpr double kTolerance = 1e-7;

struct Case {
  const OpSchema* schema;
  Sample sample;
};

bool floats_only(const Sample& sample) {
  bool any = false;
  for (const SampleInput& input : sample.inputs) {
    any = any || (!input.absent && is_float(input.type.dtype));
    if (!input.absent && input.type.quantization) return false;
  }
  for (const auto& output : sample.outputs) {
    if (output && !is_float(output->dtype)) return false;
  }
  return any;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const OpSchema* schema : all_op_schemas()) {
    if (ops::GradientRegistry::instance().find(schema->name) == nullptr) continue;
    if (schema->name == "fake_quantize") continue;  // straight through: not the gradient of its steps; tested below
    for (Sample& sample : schema->samples(*schema)) {
      if (!sample.op.empty() && sample.op != schema->name) continue;
      if (!floats_only(sample) || sample.name.find("f16") != std::string::npos) continue;
      int64_t largest = 0;
      for (SampleInput& input : sample.inputs) {
        if (input.absent) continue;
        if (is_float(input.type.dtype)) input.type.dtype = DataType::kF64;
        input.constant = input.constant && !is_float(input.type.dtype);  // weights are differentiated, too
        largest = std::max(largest, resolve(input.type.shape, {}).count());
      }
      for (auto& output : sample.outputs) {
        if (output) output->dtype = DataType::kF64;
      }
      if (schema->name == "cast") {
        const std::string to = std::get<std::string>(sample.attributes["dtype"]);
        if (to != "f32" && to != "f64") continue;
        sample.attributes["dtype"] = std::string("f64");
      }
      const auto fused = [&](const char* key) { return sample.attributes.count(key) != 0; };
      if (fused("activation") || fused("residual_activation")) continue;  // refused: tested below
      if (largest > 0 && largest <= 4096) cases.push_back({schema, std::move(sample)});
    }
  }
  return cases;
}

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
  std::string name = info.param.schema->name + "_" + info.param.sample.name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

[[maybe_unused]] void PrintTo(const Case& test_case, std::ostream* stream) {
  *stream << test_case.schema->name << "/" << test_case.sample.name;
}

ops::Tensor random_like(const ir::TensorType& type, uint32_t seed) {
  ops::Tensor tensor = ops::Tensor::zeros(type.dtype, resolve(type.shape, {}));
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  for (int64_t i = 0; i < tensor.dims.count(); ++i) ops::store_f64(tensor.mutable_view(), i, uniform(random));
  return tensor;
}

// The sum of all float outputs, each weighed by an input of random numbers: a loss whose gradient tells every element
// apart.
ValueId weighed_loss(ir::Graph& graph, std::vector<ops::Tensor>& inputs, std::span<const ValueId> outputs) {
  ValueId loss = kNone;
  for (const ValueId output : outputs) {
    const ir::TensorType type = graph.value(output).type;
    if (!is_float(type.dtype)) continue;
    const ValueId weights = graph.add_input("weights", type);
    inputs.push_back(random_like(type, static_cast<uint32_t>(inputs.size()) + 17));
    ValueId sum = *ops::append_value(graph, "mul", {output, weights});
    if (!type.shape.empty()) sum = *ops::append_value(graph, "reduce_sum", {sum}, {{"keep_dims", int64_t{0}}});
    loss = loss == kNone ? sum : *ops::append_value(graph, "add", {loss, sum});
  }
  return loss;
}

// The loss is the last output.
double loss_at(const ir::Graph& graph, std::vector<ops::Tensor>& inputs, size_t which, int64_t element, double value) {
  const double kept = ops::load_f64(inputs[which].view(), element);
  ops::store_f64(inputs[which].mutable_view(), element, value);
  const auto result = ops::interpret(graph, inputs);
  ops::store_f64(inputs[which].mutable_view(), element, kept);
  EXPECT_TRUE(result) << (result ? "" : result.error().to_string());
  return ops::load_f64(result->outputs.back().view(), 0);
}

// Compares gradients with central differences at `samples` elements of each wanted input. Elements within a step of a
// kink, where the two one-sided differences part, are passed over; returns how many were compared.
int compare(const ir::Graph& graph, std::vector<ops::Tensor> inputs, ValueId loss, std::span<const ValueId> wanted,
            int samples) {
  ir::Graph backward = graph;
  const auto gradients = differentiate(backward, loss, wanted);
  EXPECT_TRUE(gradients) << (gradients ? "" : gradients.error().to_string());
  if (!gradients) return 0;
  for (const ValueId gradient : *gradients) {
    if (gradient != kNone) backward.add_output(gradient);
  }
  const Status verified = ops::verify(backward);
  EXPECT_TRUE(verified) << (verified ? "" : verified.error().to_string());
  ir::Graph forward = graph;
  forward.add_output(loss);
  const auto computed = ops::interpret(backward, inputs);
  EXPECT_TRUE(computed) << (computed ? "" : computed.error().to_string());
  if (!computed || !verified) return 0;
  int compared = 0;
  size_t next = graph.outputs().size();  // the gradients come after the graph's own outputs
  std::mt19937 random(5);
  for (size_t w = 0; w < wanted.size(); ++w) {
    const auto at = std::find(graph.inputs().begin(), graph.inputs().end(), wanted[w]) - graph.inputs().begin();
    ops::Tensor& x = inputs[static_cast<size_t>(at)];
    const bool zero = (*gradients)[w] == kNone;
    const ops::Tensor* dx = zero ? nullptr : &computed->outputs[next++];
    if (dx != nullptr) {
      EXPECT_EQ(dx->dims, x.dims);
    }
    const int64_t count = x.dims.count();
    for (int i = 0; i < samples && count > 0; ++i) {
      const int64_t element = std::uniform_int_distribution<int64_t>(0, count - 1)(random);
      const double here = ops::load_f64(x.view(), element);
      const double step = kStep * std::max(1.0, std::fabs(here));
      const auto at_offset = [&](double offset) {
        return loss_at(forward, inputs, static_cast<size_t>(at), element, here + offset);
      };
      const double middle = at_offset(0.0);
      double halves[2];
      double differences[2];
      for (int half = 0; half < 2; ++half) {
        const double h = half == 0 ? step : step / 2;
        const double above = at_offset(h);
        const double below = at_offset(-h);
        differences[half] = (above - below) / (2 * h);
        halves[half] = (above - middle) / h - (middle - below) / h;  // goes with h where the function is smooth
      }
      const double numeric = (4.0 * differences[1] - differences[0]) / 3.0;
      const bool kink = std::fabs(halves[1]) > 1e-6 && std::fabs(halves[1]) > 0.6 * std::fabs(halves[0]);
      if (!std::isfinite(numeric) || kink) continue;
      const double exact = zero ? 0.0 : ops::load_f64(dx->view(), element);
      const double scale = std::max(1.0, std::fabs(middle) * 1e-4 + std::fabs(numeric));
      EXPECT_NEAR(exact, numeric, kTolerance * scale) << "input " << at << ", element " << element << " = " << here;
      ++compared;
    }
  }
  return compared;
}

class Gradient : public ::testing::TestWithParam<Case> {};

TEST_P(Gradient, EqualsFiniteDifferences) {
  const Case& test_case = GetParam();
  auto sample = ops::build_sample(*test_case.schema, test_case.sample);
  ASSERT_TRUE(sample) << sample.error().to_string();
  ir::Graph& graph = sample->graph;
  std::vector<ValueId> wanted;
  int64_t elements = 0;
  for (const ValueId input : graph.inputs()) {
    if (!is_float(graph.value(input).type.dtype)) continue;
    wanted.push_back(input);
    elements += resolve(graph.value(input).type.shape, {}).count();
  }
  std::vector<ops::Tensor> inputs = sample->inputs;
  std::vector<ValueId> outputs = graph.outputs();
  if (test_case.schema->name == "batch_norm_train") outputs.resize(1);  // a loss of its statistics is refused
  const ValueId loss = weighed_loss(graph, inputs, outputs);
  ASSERT_NE(loss, kNone);
  const int compared = compare(graph, inputs, loss, wanted, 8);
  EXPECT_GE(compared, elements > 0 ? 4 : 0);  // most are no kinks
}

INSTANTIATE_TEST_SUITE_P(Ops, Gradient, ::testing::ValuesIn(all_cases()), case_name);

// --- graphs of several nodes ---

struct F64Builder {
  ir::Graph graph;
  std::vector<ops::Tensor> inputs;
  ValueId input(Shape shape) {
    const ir::TensorType type{DataType::kF64, std::move(shape), std::nullopt};
    inputs.push_back(random_like(type, static_cast<uint32_t>(inputs.size()) + 3));
    return graph.add_input("x", type);
  }
  ValueId node(std::string_view op, std::vector<ValueId> operands, ir::Attributes attributes = {}) {
    const auto value = ops::append_value(graph, op, std::move(operands), std::move(attributes));
    EXPECT_TRUE(value) << (value ? "" : value.error().to_string());
    return *value;
  }
};

TEST(Differentiate, TwoLayersWithSharedValuesAndAResidual) {
  F64Builder b;
  const ValueId x = b.input({Dim(5), Dim(7)});
  const ValueId w = b.input({Dim(7), Dim(7)});
  const ValueId bias = b.input({Dim(7)});
  const ValueId hidden = b.node("tanh", {b.node("add", {b.node("matmul", {x, w}), bias})});
  const ValueId again = b.node("add", {b.node("matmul", {hidden, w}), x});  // w and x are read twice
  const ValueId loss = b.node("reduce_mean", {b.node("square", {again})}, {{"keep_dims", int64_t{0}}});
  const std::vector<ValueId> wanted = {x, w, bias};
  EXPECT_EQ(compare(b.graph, b.inputs, loss, wanted, 20), 60);
}

TEST(Differentiate, OnlyTheWayToTheWantedValuesIsDifferentiated) {
  F64Builder b;
  const ValueId x = b.input({Dim(3), Dim(4)});
  const ValueId w = b.input({Dim(4), Dim(2)});
  const ValueId filter = b.input({Dim(1), Dim(1), Dim(1), Dim(1)});
  const ValueId features =
      b.node("conv2d", {b.node("reshape", {x}, {{"shape", std::vector<int64_t>{1, 3, 4, 1}}}), filter},
             {{"activation", std::string("relu")}});  // a fused activation has no gradient: frozen
  const ValueId y = b.node("matmul", {b.node("reshape", {features}, {{"shape", std::vector<int64_t>{3, 4}}}), w});
  const ValueId loss = b.node("reduce_sum", {b.node("sigmoid", {y})}, {{"keep_dims", int64_t{0}}});
  EXPECT_EQ(compare(b.graph, b.inputs, loss, std::vector<ValueId>{w}, 8), 8);
  ir::Graph graph = b.graph;
  const auto all = differentiate(graph, loss, std::vector<ValueId>{x});
  ASSERT_FALSE(all);
  EXPECT_NE(all.error().message.find("conv2d"), std::string::npos) << all.error().message;
}

TEST(Differentiate, WhatTheLossDoesNotDependOnHasNone) {
  F64Builder b;
  const ValueId x = b.input({Dim(3)});
  const ValueId other = b.input({Dim(3)});
  const ValueId flat = b.node("floor", {b.node("mul", {other, other})});
  const ValueId loss = b.node("reduce_sum", {b.node("mul", {x, flat})}, {{"keep_dims", int64_t{0}}});
  const auto gradients = differentiate(b.graph, loss, std::vector<ValueId>{x, other, loss});
  ASSERT_TRUE(gradients);
  EXPECT_NE((*gradients)[0], kNone);
  EXPECT_EQ((*gradients)[1], kNone);
  EXPECT_NE((*gradients)[2], kNone);  // 1
}

TEST(Differentiate, AFreeBatchStaysFree) {
  ir::Graph graph;
  graph.symbols = {{"N", 1, 8}};
  const ValueId x = graph.add_input("x", {DataType::kF64, {Dim(1, 0), Dim(3)}, std::nullopt});
  const ValueId w = graph.add_input("w", {DataType::kF64, {Dim(3), Dim(2)}, std::nullopt});
  const ValueId b = graph.add_input("b", {DataType::kF64, {Dim(2)}, std::nullopt});
  const ValueId y = *ops::append_value(graph, "add", {*ops::append_value(graph, "matmul", {x, w}), b});
  const ValueId loss =
      *ops::append_value(graph, "reduce_mean", {*ops::append_value(graph, "square", {y})}, {{"keep_dims", int64_t{0}}});
  const std::vector<ValueId> wanted = {x, w, b};
  for (const int64_t batch : {1, 3, 8}) {
    std::vector<ops::Tensor> inputs;
    for (const ValueId value : wanted) {
      ir::TensorType type = graph.value(value).type;
      type.shape = to_shape(resolve(type.shape, std::vector<int64_t>{batch}));
      inputs.push_back(random_like(type, static_cast<uint32_t>(batch) + 1));
    }
    EXPECT_EQ(compare(graph, inputs, loss, wanted, 6), 18) << "batch " << batch;
  }
}

TEST(Differentiate, RefusesWhatIsNoLossAndWhatHasNoGradient) {
  F64Builder b;
  const ValueId x = b.input({Dim(3)});
  EXPECT_FALSE(differentiate(b.graph, x, std::vector<ValueId>{x}));
  const ValueId count = b.node("cast", {x}, {{"dtype", std::string("i32")}});
  const ValueId loss = b.node("reduce_sum", {x}, {{"keep_dims", int64_t{0}}});
  EXPECT_FALSE(differentiate(b.graph, loss, std::vector<ValueId>{count}));
  const ValueId w = b.input({Dim(3), Dim(3)});
  const ValueId fused = b.node("matmul", {b.node("reshape", {x}, {{"shape", std::vector<int64_t>{1, 3}}}), w},
                               {{"activation", std::string("relu")}});
  const ValueId end = b.node("reduce_sum", {fused}, {{"keep_dims", int64_t{0}}});
  const auto refused = differentiate(b.graph, end, std::vector<ValueId>{w});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("before fusing"), std::string::npos) << refused.error().message;
}

// At kinks the gradients are PyTorch's.
TEST(Differentiate, KinksAreTakenAsPyTorchTakesThem) {
  const auto at_zero = [](std::string_view op, ir::Attributes attributes = {}) {
    ir::Graph graph;
    const ValueId x = graph.add_input("x", {DataType::kF64, {}, std::nullopt});
    const ValueId y = *ops::append_value(graph, op, {x}, std::move(attributes));
    graph.add_output((*differentiate(graph, y, std::vector<ValueId>{x}))[0]);
    const std::vector<ops::Tensor> zero = {ops::Tensor::zeros(DataType::kF64, Dims{})};
    return ops::load_f64(ops::interpret(graph, zero)->outputs[0].view(), 0);
  };
  EXPECT_EQ(at_zero("relu"), 0.0);
  EXPECT_EQ(at_zero("relu6"), 0.0);
  EXPECT_EQ(at_zero("abs"), 0.0);
  EXPECT_EQ(at_zero("leaky_relu", {{"alpha", 0.25}}), 0.25);
  EXPECT_EQ(at_zero("clip", {{"min", 0.0}, {"max", 1.0}}), 1.0);
  EXPECT_EQ(at_zero("hard_sigmoid", {{"alpha", 0.5}, {"beta", 1.0}}), 0.0);
}

// As PyTorch does: the first in rows and columns.
// round(x / s) + z is what counts: with low -1 and high 1.55 the scale is 0.01 and the zero point -28, so the grid
// holds -1.00 to 1.55, and what rounds to its ends too.
TEST(Differentiate, GradientsGoStraightThroughFakeQuantization) {
  F64Builder b;
  const ValueId x = b.input({8});
  const double values[] = {-3.0, -1.006, -1.004, -0.503, 0.0, 1.554, 1.556, 9.0};
  for (int64_t i = 0; i < 8; ++i) ops::store_f64(b.inputs[0].mutable_view(), i, values[i]);
  const ValueId low = ops::add_number(b.graph, {DataType::kF64, {}, std::nullopt}, -1.0);
  const ValueId high = ops::add_number(b.graph, {DataType::kF64, {}, std::nullopt}, 1.55);
  const ValueId y = b.node("fake_quantize", {x, low, high});
  const ValueId loss = b.node("reduce_sum", {b.node("mul", {y, y})}, {{"keep_dims", int64_t{0}}});
  const auto gradients = differentiate(b.graph, loss, std::vector<ValueId>{x});
  ASSERT_TRUE(gradients) << gradients.error().to_string();
  b.graph.add_output(y);
  b.graph.add_output((*gradients)[0]);
  const auto out = ops::interpret(b.graph, b.inputs);
  ASSERT_TRUE(out) << out.error().to_string();
  const double rounded[] = {-1.0, -1.0, -1.0, -0.5, 0.0, 1.55, 1.55, 1.55};
  const bool inside[] = {false, false, true, true, true, true, false, false};
  for (int64_t i = 0; i < 8; ++i) {
    const double value = ops::load_f64(out->outputs[0].view(), i);
    EXPECT_NEAR(value, rounded[i], 1e-7) << i;  // the scale is a float
    EXPECT_EQ(ops::load_f64(out->outputs[1].view(), i), inside[i] ? 2 * value : 0.0) << i;
  }
}

TEST(Differentiate, OfEqualMaximaTheFirstTakesTheGradient) {
  ir::Graph graph;
  const ValueId x = graph.add_input("x", {DataType::kF64, {1, 2, 2, 1}, std::nullopt});
  const ValueId y = *ops::append_value(graph, "max_pool", {x}, {{"kernel", std::vector<int64_t>{2, 2}}});
  const ValueId loss = *ops::append_value(graph, "reduce_sum", {y}, {{"keep_dims", int64_t{0}}});
  graph.add_output((*differentiate(graph, loss, std::vector<ValueId>{x}))[0]);
  std::vector<ops::Tensor> inputs = {ops::Tensor::zeros(DataType::kF64, Dims{1, 2, 2, 1})};
  ops::store_f64(inputs[0].mutable_view(), 1, 5.0);
  ops::store_f64(inputs[0].mutable_view(), 2, 5.0);
  const auto result = ops::interpret(graph, inputs);
  ASSERT_TRUE(result);
  const TensorView dx = result->outputs[0].view();
  EXPECT_EQ(ops::load_all_f64(dx), (std::vector<double>{0.0, 1.0, 0.0, 0.0}));
}

// What is trained stays as it is, whatever stands before it is constant.
TEST(Differentiate, ATrainedBatchNormIsNotFolded) {
  GraphBuilder b;
  ir::Graph& graph = b.graph;
  const auto vector = [&](float value) {
    const std::vector<float> values(3, value);
    return ops::add_constant_f32(graph, "v", std::vector<int64_t>{3}, values);
  };
  const ValueId x = graph.add_input("x", {DataType::kF32, {2, 4, 4, 3}, std::nullopt});
  const std::vector<float> filter(9, 0.5F);
  const ValueId w = ops::add_constant_f32(graph, "w", std::vector<int64_t>{3, 1, 1, 3}, filter);
  const ValueId y = *ops::append_value(graph, "conv2d", {x, w});
  const auto node = ops::append(graph, "batch_norm_train", {y, vector(1.0F), vector(0.0F), vector(0.0F), vector(1.0F)});
  ASSERT_TRUE(node);
  for (const ValueId output : graph.node(*node).outputs) graph.add_output(output);
  const auto folded = fold_batch_norm(graph);
  ASSERT_TRUE(folded);
  EXPECT_EQ(folded->changes, 0);
}

// Every operator has a rule, or its schema says why not.
TEST(Differentiate, OperatorsWithoutARuleSayWhy) {
  for (const OpSchema* schema : all_op_schemas()) {
    const bool explained = !schema->explained_hole("gradient").empty();
    EXPECT_NE(ops::GradientRegistry::instance().knows(schema->name), explained) << schema->name;
  }
}

}  // namespace
}  // namespace hai::passes

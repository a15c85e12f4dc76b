// For tests: builds small graphs with inferred types, and compares what two graphs compute.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "ops/build.h"
#include "ops/interpreter.h"
#include "ops/verify.h"

namespace hai::passes::testing {

class GraphBuilder {
 public:
  explicit GraphBuilder(uint32_t seed = 1) : random(seed) { graph.name = "test"; }

  ir::Graph graph;
  std::mt19937 random;

  int64_t pick(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(random); }
  bool chance(int percent) { return pick(0, 99) < percent; }
  float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random); }

  const ir::TensorType& type(ir::ValueId value) const { return graph.value(value).type; }
  const Shape& shape(ir::ValueId value) const { return graph.value(value).type.shape; }

  ir::ValueId input(Shape dims, std::optional<Quantization> quantization = {}) {
    const DataType dtype = quantization ? DataType::kI8 : DataType::kF32;
    return graph.add_input("input", {dtype, std::move(dims), std::move(quantization)});
  }
  ir::ValueId constant(std::vector<int64_t> dims, float low = -1.0F, float high = 1.0F) {
    std::vector<float> values(static_cast<size_t>(Dims(dims).count()));
    for (float& v : values) v = uniform(low, high);
    return ops::add_constant_f32(graph, "c", dims, values);
  }
  ir::ValueId scalar(float value) { return ops::add_constant_f32(graph, "s", {}, std::vector<float>{value}); }
  ir::ValueId weights_i8(std::vector<int64_t> dims, size_t axis) {
    std::vector<int8_t> values(static_cast<size_t>(Dims(dims).count()));
    for (int8_t& v : values) v = static_cast<int8_t>(pick(-127, 127));
    const auto channels = static_cast<size_t>(dims[axis]);
    Quantization q{{}, std::vector<int32_t>(channels, 0), static_cast<int32_t>(axis), 0};
    for (size_t c = 0; c < channels; ++c) q.scales.push_back(uniform(0.001F, 0.01F));
    return ops::add_constant_i8(graph, "w", dims, values, std::move(q));
  }
  ir::ValueId bias_i32(int64_t count) {
    std::vector<int32_t> values(static_cast<size_t>(count));
    for (int32_t& v : values) v = static_cast<int32_t>(pick(-3000, 3000));
    const int64_t dims[1] = {count};
    return ops::add_constant_i32(graph, "b", dims, values);
  }
  Quantization quantization() {
    return per_tensor_quantization(uniform(0.02F, 0.05F), static_cast<int32_t>(pick(-30, 30)));
  }

  // Appends a node; a test that builds a wrong graph fails at once. `declared` by value: callers pass what belongs to a
  // value of this graph, which moves when another node is appended.
  std::vector<ir::ValueId> nodes(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {},
                                 // NOLINTNEXTLINE(performance-unnecessary-value-param)
                                 std::optional<Quantization> declared = {}, size_t output_count = 1,
                                 DataType dtype = DataType::kI8) {
    ops::AppendOptions options;
    options.node_name = fmt::format("{}_{}", op, graph.node_slots());
    options.output_count = output_count;
    for (size_t i = 0; declared && i < output_count; ++i)
      options.declared.push_back(ir::TensorType{dtype, {}, declared});
    auto id = ops::append(graph, op, std::move(inputs), std::move(attributes), std::move(options));
    if (!id) {
      ADD_FAILURE() << op << ": " << id.error().to_string();
      std::abort();
    }
    return graph.node(*id).outputs;
  }
  ir::ValueId node(std::string_view op, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {},
                   std::optional<Quantization> declared = {}) {
    return nodes(op, std::move(inputs), std::move(attributes), std::move(declared))[0];
  }
  // With an i16 result.
  ir::ValueId wide_node(std::string_view op, std::vector<ir::ValueId> inputs, Quantization declared) {
    return nodes(op, std::move(inputs), {}, std::move(declared), 1, DataType::kI16)[0];
  }
  ir::ValueId transpose(ir::ValueId value, std::vector<int64_t> permutation) {
    return node("transpose", {value}, {{"permutation", std::move(permutation)}});
  }
  ir::ValueId to_nhwc(ir::ValueId value) { return transpose(value, {0, 2, 3, 1}); }
  ir::ValueId to_nchw(ir::ValueId value) { return transpose(value, {0, 3, 1, 2}); }
};

inline int64_t count_of(const ir::Graph& graph, std::string_view op) {
  int64_t count = 0;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id)
    count += graph.node(id).alive && graph.node(id).op == op ? 1 : 0;
  return count;
}

inline const ir::Node& only(const ir::Graph& graph, std::string_view op) {
  static const ir::Node kNothing;
  EXPECT_EQ(count_of(graph, op), 1) << op;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    if (graph.node(id).alive && graph.node(id).op == op) return graph.node(id);
  }
  return kNothing;
}

// Random inputs for a graph whose symbols are `batch`.
inline std::vector<ops::Tensor> random_inputs(const ir::Graph& graph, uint32_t seed, int64_t batch = 1) {
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
      } else {
        data_of<int8_t>(view)[i] = static_cast<int8_t>(std::uniform_int_distribution<int>(-128, 127)(random));
      }
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

// Integers equal; floats within `tolerance` of the largest magnitude of the tensor.
inline void expect_same(const TensorView& a, const TensorView& b, double tolerance, std::string_view what) {
  ASSERT_EQ(a.dtype, b.dtype) << what;
  ASSERT_TRUE(a.dims == b.dims) << what << " " << to_string(a.dims) << " " << to_string(b.dims);
  if (a.dtype != DataType::kF32) {
    const auto bytes = static_cast<size_t>(a.size_bytes());
    for (size_t i = 0; i < bytes; ++i) {
      ASSERT_EQ(static_cast<int>(static_cast<int8_t>(a.data[i])), static_cast<int>(static_cast<int8_t>(b.data[i])))
          << what << " differs first at byte " << i;
    }
    return;
  }
  double largest = 1e-6;
  for (int64_t i = 0; i < a.count(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(data_of<float>(a)[i])));
  for (int64_t i = 0; i < a.count(); ++i) {
    ASSERT_NEAR(data_of<float>(a)[i], data_of<float>(b)[i], largest * tolerance) << what << " differs first at " << i;
  }
}

// f32 sums are f64 in the reference and rounded once a node, so folding and fusing change the last bits only; 2e-5 of
// the largest value leaves room for chains of 20 such nodes.
inline constexpr double kFloatTolerance = 2e-5;

inline void expect_equal_results(const ir::Graph& before, const ir::Graph& after, uint32_t seed = 7, int64_t batch = 1,
                                 double tolerance = kFloatTolerance) {
  const std::vector<ops::Tensor> inputs = random_inputs(before, seed, batch);
  const auto expected = ops::interpret(before, inputs);
  const auto got = ops::interpret(after, inputs);
  ASSERT_TRUE(expected) << expected.error().to_string();
  ASSERT_TRUE(got) << got.error().to_string();
  ASSERT_EQ(expected->outputs.size(), got->outputs.size());
  for (size_t i = 0; i < got->outputs.size(); ++i) {
    const ir::ValueId a = before.outputs()[i];
    const ir::ValueId b = after.outputs()[i];
    EXPECT_EQ(before.value(a).name, after.value(b).name) << "output " << i;
    EXPECT_EQ(before.value(a).type, after.value(b).type) << "output " << i;
    expect_same(expected->outputs[i].view(), got->outputs[i].view(), tolerance, before.value(a).name);
  }
}

}  // namespace hai::passes::testing

// For tests: small networks, node by node; a wrong node fails the test that builds it.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ops/build.h"

namespace hai::quantizer::testing {

class NetworkBuilder {
 public:
  explicit NetworkBuilder(uint32_t seed) : random(seed) { graph.name = "test"; }

  ir::ValueId input(const std::vector<int64_t>& dims) {
    return graph.add_input("x", {DataType::kF32, to_shape(dims), {}});
  }

  // Called as its operator unless named.
  ir::ValueId op(const std::string& name, std::vector<ir::ValueId> inputs, ir::Attributes attributes = {},
                 const std::string& node_name = {}) {
    ops::AppendOptions options;
    options.node_name = node_name.empty() ? name : node_name;
    auto value = ops::append_value(graph, name, std::move(inputs), std::move(attributes), std::move(options));
    EXPECT_TRUE(value.has_value()) << (value.has_value() ? "" : value.error().to_string());
    return value.has_value() ? *value : ir::ValueId{0};
  }

  // Gains multiply what a channel hands out and divide what reads a channel, as an equalization would leave it. An
  // output gain of 0 is a channel without weights, whose bias stays.
  struct Gains {
    std::vector<float> outputs;
    std::vector<float> inputs;
  };
  // Padded to the same size, with random weights that keep the size of the numbers, and a bias.
  ir::ValueId conv(ir::ValueId x, int64_t in, int64_t out, int64_t kernel, const std::string& name,
                   const Gains& gains = {}) {
    std::normal_distribution<float> normal(0.0F, 1.0F / std::sqrt(static_cast<float>(in * kernel * kernel)));
    std::vector<float> weights(static_cast<size_t>(out * kernel * kernel * in));
    for (size_t i = 0; i < weights.size(); ++i) {
      weights[i] = normal(random);
      if (!gains.outputs.empty()) weights[i] *= gains.outputs[i / static_cast<size_t>(kernel * kernel * in)];
      if (!gains.inputs.empty()) weights[i] /= gains.inputs[i % static_cast<size_t>(in)];
    }
    std::vector<float> bias(static_cast<size_t>(out));
    for (size_t i = 0; i < bias.size(); ++i) {
      bias[i] = 0.1F * normal(random);
      if (!gains.outputs.empty() && gains.outputs[i] != 0.0F) bias[i] *= gains.outputs[i];
    }
    const int64_t w_dims[] = {out, kernel, kernel, in};
    const int64_t b_dims[] = {out};
    const ir::ValueId w = ops::add_constant_f32(graph, name + ".w", w_dims, weights);
    const ir::ValueId b = ops::add_constant_f32(graph, name + ".b", b_dims, bias);
    const int64_t pad = kernel / 2;
    return op("conv2d", {x, w, b}, {{"pads", std::vector<int64_t>{pad, pad, pad, pad}}}, name);
  }

  ir::Graph graph;
  std::mt19937 random;
};

}  // namespace hai::quantizer::testing

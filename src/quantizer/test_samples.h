// What tests of quantize() share: random samples, and how far a quantized graph is from the one that it was made of.
//
// Everything is made from seeds, so that a test's numbers are the same on every machine.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <random>
#include <string_view>
#include <vector>

#include "ops/interpreter.h"
#include "quantizer/quantizer.h"

namespace hai::quantizer::testing {

inline ops::Tensor random_tensor(const Dims& dims, uint32_t seed, float low = -1.0F, float high = 1.0F) {
  ops::Tensor tensor = ops::Tensor::zeros(DataType::kF32, dims);
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  const MutableTensorView view = tensor.mutable_view();
  std::generate_n(data_of<float>(view), view.count(), [&] { return uniform(random); });
  return tensor;
}

inline NextSample samples_of(const Dims& dims, int count) {
  return [dims, count, index = 0]() mutable -> Result<std::optional<std::vector<ops::Tensor>>> {
    if (index == count) return std::optional<std::vector<ops::Tensor>>();
    std::vector<ops::Tensor> sample;
    sample.push_back(random_tensor(dims, static_cast<uint32_t>(100 + index++)));
    return std::optional<std::vector<ops::Tensor>>(std::move(sample));
  };
}

inline size_t count_ops(const ir::Graph& graph, std::string_view op) {
  size_t count = 0;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id)
    count += graph.node(id).alive && graph.node(id).op == op ? 1U : 0U;
  return count;
}

// Signal over noise in dB between the reference runs of two graphs on a fresh sample.
inline double sqnr_db(const ir::Graph& reference, const ir::Graph& quantized, const Dims& dims) {
  std::vector<ops::Tensor> inputs;
  inputs.push_back(random_tensor(dims, 7));
  const auto expected = ops::interpret(reference, inputs);
  const auto actual = ops::interpret(quantized, inputs);
  if (!expected || !actual) {
    ADD_FAILURE() << (expected ? actual.error().to_string() : expected.error().to_string());
    return 0;
  }
  double signal = 0;
  double noise = 0;
  for (size_t o = 0; o < expected->outputs.size(); ++o) {
    const TensorView a = expected->outputs[o].view();
    const TensorView b = actual->outputs[o].view();
    for (int64_t i = 0; i < a.count(); ++i) {
      const double x = static_cast<double>(data_of<float>(a)[i]);
      const double y = static_cast<double>(data_of<float>(b)[i]);
      signal += x * x;
      noise += (x - y) * (x - y);
    }
  }
  return 10 * std::log10(signal / noise);
}

}  // namespace hai::quantizer::testing

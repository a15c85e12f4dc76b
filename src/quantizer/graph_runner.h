// GraphRunner: a graph compiled for the CPU device and run through the public runtime interface, for measuring.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "hai/hai.hpp"
#include "ir/graph.h"
#include "ops/interpreter.h"

namespace hai::quantizer {

class GraphRunner {
 public:
  // `threads` 0: one a CPU. Error Q060 carries what the compiler or the runtime said.
  static Result<GraphRunner> make(ir::Graph graph, int threads);

  // One tensor per graph input. Outputs in the order of graph.outputs(), in memory that the next run reuses.
  Result<std::span<const api::Tensor>> run(std::span<const hai_tensor> inputs);

 private:
  GraphRunner(std::vector<std::byte> bytes, api::Session session)
      : bytes_(std::move(bytes)), session_(std::move(session)) {}

  std::vector<std::byte> bytes_;  // the session reads weights here
  api::Session session_;
  std::vector<api::Tensor> outputs_;
};

// Views of a sample's tensors; they do not own.
std::vector<hai_tensor> views_of(std::span<const ops::Tensor> sample);

inline std::span<const float> floats_of(const api::Tensor& tensor) {
  return {static_cast<const float*>(tensor.data()), tensor.size_bytes() / sizeof(float)};
}

}  // namespace hai::quantizer

// CompiledGraph: a graph that runs on the CPU device through the public runtime interface, as a user's model does.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "ops/interpreter.h"

namespace hai::quantizer {

class CompiledGraph {
 public:
  static Result<CompiledGraph> make(ir::Graph graph, int threads);
  CompiledGraph(CompiledGraph&&) noexcept;
  CompiledGraph& operator=(CompiledGraph&&) noexcept;
  ~CompiledGraph();

  // Inputs in the graph's order. The outputs' bytes are the session's and stay until the next run.
  Result<std::vector<TensorView>> run(std::span<const ops::Tensor> sample);

 private:
  struct State;
  explicit CompiledGraph(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hai::quantizer

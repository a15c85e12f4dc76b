// A schema's sample as something that runs: a graph of one node, and tensors for its inputs, the same on every machine.
#pragma once

#include <vector>

#include "base/result.h"
#include "ops/interpreter.h"
#include "ops/op_schema.h"

namespace hai::ops {

struct SampleGraph {
  ir::Graph graph;             // one node; its outputs are the graph's outputs
  std::vector<Tensor> inputs;  // in the order of graph.inputs()
};

struct SampleOptions {
  // Gives the inputs a free batch: the first dimension of every input that is not constant becomes (size / batch) * N.
  // An error when an input's first dimension is not the same as the others' or the operator does not take it.
  bool symbolic_batch = false;
  int64_t batch = 1;  // value of the batch symbol that the input tensors are made for
};

// `sample.op` names the schema when the folder has several.
Result<SampleGraph> build_sample(const OpSchema& schema, const Sample& sample, const SampleOptions& options = {});

// The tensor that `input` describes: floats uniform in [low, high]; integers uniform over their range (at most 16
// bits), in [-2^20, 2^20] (wider), or in [low, high] when `integers_in_bounds`. Precondition: the type is static.
Tensor fill_sample_input(const SampleInput& input, const Dims& dims, uint64_t seed);

}  // namespace hai::ops

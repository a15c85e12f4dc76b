// A step of training in two graphs: what no step changes, and the rest.
#pragma once

#include <optional>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::passes {

struct SplitStep {
  ir::Graph frozen;  // inputs of the model; outputs: the features, which are what the rest reads of them
  ir::Graph rest;    // the features instead of the model's inputs, then the inputs, outputs and states of the step
};

// Splits a training graph (training_graph.h) of which the first `model_inputs` inputs are those of the model. Features
// are integers where a dequantize stands behind the cut: it goes to the rest. std::nullopt where there is nothing to
// gain: no convolution or product is frozen, the rest reads an input of the model, or an output of the model is frozen.
Result<std::optional<SplitStep>> split_frozen(const ir::Graph& step, size_t model_inputs);

}  // namespace hai::passes

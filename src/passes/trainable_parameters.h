// Which constants of a graph are parameters, and which of them a training changes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::passes {

struct Parameter {
  ir::ValueId value = ir::kNone;                      // a float constant
  bool spared = false;                                // a bias, a slope, or of a normalization: no weight decay
  double rate_factor = 1;                             // of the learning rate (parameter_groups.h)
  std::optional<double> weight_decay = std::nullopt;  // instead of the optimizer's
};

// The parameters that `choice` names, in the order in which the graph first reads them:
//   all      every weight and bias of convolutions, products and normalizations, and slopes of prelu
//   bias     biases alone, of normalizations too
//   head     those of the last layer with weights
//   last:K   those of the last K such layers, and of what stands between them
//   name:T   those whose name contains T
// A constant that is added to the result of a product counts as its bias; zeros that a product adds before a batch
// norm, or that PyTorch's exporter made up ("val_7"), are none.
//
// Errors: P530 no such choice; P531 nothing is chosen, with what there is; P532 there is nothing to choose from.
Result<std::vector<Parameter>> trainable_parameters(const ir::Graph& graph, std::string_view choice);

// By node slot: what a training of these parameters reaches, which is every node that reads one of them, directly or
// through others. The rest is the frozen part, whose results no step changes.
Result<std::vector<bool>> trained_nodes(const ir::Graph& graph, const std::vector<Parameter>& parameters);

}  // namespace hai::passes

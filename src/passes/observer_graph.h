// The forward part of what is trained, which keeps the ranges of values that it sees (docs/design/0021).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::passes {

// Makes observers of a model. Afterwards:
//   inputs   those of the model, then the states
//   outputs  those of the model, then the next values of the states
//   states   the constants `changed`, under their names and with their bytes, which no run changes; then for each
//            value the numbers `high[i]` and `low[i]`: the largest and the least element so far,
//            zeros at first, so that zero is always part of a range
// Elements that are no numbers are passed over. Precondition: `values` are
// names of values in f32, without doubles, with as many names of states.
Status make_observer_graph(ir::Graph& graph, std::span<const ir::ValueId> changed, std::span<const std::string> values,
                           std::span<const std::string> low, std::span<const std::string> high);

}  // namespace hai::passes

// Reverse-mode differentiation of a graph, at compile time.
#pragma once

#include <span>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::passes {

// Adds the nodes that compute dL/dv for each of `wanted`, and returns their values in that order: of the type and shape
// of v, or ir::kNone where the loss does not depend on v (its gradient is zero everywhere).
//
// `loss` is a float of one element; its own gradient is 1. `wanted` may be inputs, constants (which stay constants: a
// caller that updates them makes them inputs first) and results of nodes, all floats. Only nodes between the wanted
// values and the loss get gradients: what comes before is not differentiated. A value that several nodes read gets the
// sum of their parts, from the last reader to the first, so equal graphs give equal bits.
//
// Errors: P501 no scalar loss, P502 a wanted value is no float, P503 an operator on the way has no rule
// (ops/gradient.h): the message names the node and the values nearest to the loss that do have gradients, where a cut
// would work. The graph may then hold nodes that nothing reads.
Result<std::vector<ir::ValueId>> differentiate(ir::Graph& graph, ir::ValueId loss, std::span<const ir::ValueId> wanted);

}  // namespace hai::passes

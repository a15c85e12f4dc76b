// The order in which a device with one queue runs the nodes of a graph.
#pragma once

#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::passes {

// Graph::ordered() where the graph has no states. With states the new value of a state takes the place of the old one,
// so the node that makes it comes after all others that read the old one; and it comes as soon as that allows, so that
// gradients are applied, and their memory is free, as soon as they exist.
//
// Errors: P510 when a node reads both the old value of a state and something made from the new one: then the old value
// cannot be overwritten; I001 for a cycle.
Result<std::vector<ir::NodeId>> execution_order(const ir::Graph& graph);

}  // namespace hai::passes

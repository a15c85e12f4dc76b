// How much work a node of a graph is, for placement, searches and tables.
#pragma once

#include <cstdint>

#include "ir/graph.h"

namespace hai::ops {

// Multiply-accumulates of one sample (every symbol is 1); 0 for operators without a cost.
int64_t macs_of(const ir::Graph& graph, const ir::Node& node);

}  // namespace hai::ops

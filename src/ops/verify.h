// Checking nodes against their schemas: the half of verification that needs to know what operators mean.
#pragma once

#include "base/result.h"
#include "ir/graph.h"
#include "ops/op_schema.h"

namespace hai::ops {

// Operand counts (absent only where optional), attribute names and kinds, required attributes. No types.
Status check_node(const OpSchema& schema, const ir::Node& node);

// A type that came out of inference: rank, sizes and the product of all sizes at the symbols' upper bounds stay within
// limits, quantization fits.
Status check_type(const ir::TensorType& type, std::span<const Symbol> symbols);

// check_node, then inference from the present types of the inputs, then check_type. `declared` may be shorter than the
// outputs. Values of operands come from the graph.
Result<std::vector<ir::TensorType>> infer_types(const ir::Graph& graph, const ir::Node& node,
                                                std::span<const std::optional<ir::TensorType>> declared);

}  // namespace hai::ops

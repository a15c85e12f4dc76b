// Less memory for a step of training, for more work: activations that are made again when the backward part needs them.
#pragma once

#include "base/result.h"
#include "ir/graph.h"
#include "passes/passes.h"

namespace hai::passes {

// Gives backward nodes a second copy of cheap forward nodes (normalizations and element-wise functions of one tensor
// that grows with the batch), whose result then need not be kept from the forward part: of a convolution, its norm and
// its activation, one tensor stays instead of two. Only nodes whose operand is kept anyway are copied. A copy is the
// same operator on the same operands, so no bit changes. `loss` tells the parts apart: what it depends on is the
// forward part.
//
// The last pass before lowering: merge_duplicates would undo it, and what is fused later would not be copied whole.
Result<PassStats> recompute_activations(ir::Graph& graph, ir::ValueId loss);

}  // namespace hai::passes

// Questions that the lowerings of many operators ask before they take a node.
#pragma once

#include "devices/cpu/lower/lower_registry.h"
#include "ops/inference.h"
#include "types/arithmetic.h"

namespace hai::cpu {

// Every present operand and every output is of a type in `allowed`; integers of at most 16 bits carry one scale.
Status supports_elementwise(const ir::Graph& graph, const ir::Node& node, ops::DataTypeSet allowed);
// Operand `operand` is of a type in `allowed`.
Status supports_operand(const ir::Graph& graph, const ir::Node& node, size_t operand, ops::DataTypeSet allowed);
// An error unless `multiplier` is finite and in [2^-40, 2^8]: what kernels refuse, refused at compile time.
Status supports_multiplier(const ir::Node& node, float multiplier);
// The per-tensor scale of a value, 1 without one.
float scale_of(const ir::Graph& graph, ir::ValueId value);

// Every present operand has elements of whole bytes: all that a kernel that moves elements needs.
Status supports_whole_bytes(const ir::Graph& graph, const ir::Node& node);
// f32, or i8, u8 and i16 with one scale; output 0 is of the type of operand 0.
Status supports_f32_and_quantized(const ir::Graph& graph, const ir::Node& node);
// Or f16.
Status supports_floats_and_quantized(const ir::Graph& graph, const ir::Node& node);

}  // namespace hai::cpu

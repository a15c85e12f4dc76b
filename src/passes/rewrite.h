// What passes share: asking how values are made and read, reading small constants, replacing one value by another.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"

namespace hai::passes {

// --- asking ---
// The node that makes `value`, when it is a live `op`; else null.
const ir::Node* producer_if(const ir::Graph& graph, ir::ValueId value, std::string_view op);
// The one node that reads `value`, and reads it once, when the value is no graph output; else ir::kNone.
ir::NodeId sole_reader(const ir::Graph& graph, ir::ValueId value);
// All reads come from one place and the value is no graph output.
inline bool read_once(const ir::Graph& graph, ir::ValueId value) { return sole_reader(graph, value) != ir::kNone; }
bool is_quantized(const ir::TensorType& type);
// The i16 `result` of a product with an 8-bit `x` becomes an 8-bit `after` at once: fused, it is a wide rounding point
// (types/epilogue.h).
bool is_wide_point(const ir::TensorType& x, const ir::TensorType& result, const ir::TensorType& after);
// f64, f32, f16 and bf16 that stand for themselves.
inline bool is_float_type(const ir::TensorType& type) { return is_float(type.dtype); }

// --- constants ---
// A hash that looks at both ends of long constants only: equal bytes have equal hashes, and different weights differ
// there nearly always. Callers compare the bytes.
size_t quick_hash(std::span<const std::byte> bytes);
// Elements of an f32, f64, i32 or i64 constant without quantization, as doubles; std::nullopt for all else.
std::optional<std::vector<double>> constant_values(const ir::Graph& graph, ir::ValueId value);
// The value of a constant whose elements are all the same number (one element, or a splat of up to 4096).
std::optional<double> scalar_constant(const ir::Graph& graph, ir::ValueId value);
// The scalar constant among the two operands of a binary node, and the other operand.
struct ScalarOperand {
  ir::ValueId other = ir::kNone;
  double scalar = 0;
  bool scalar_is_left = false;
};
std::optional<ScalarOperand> scalar_operand(const ir::Graph& graph, const ir::Node& node);
// True when |a - b| is within float rounding of b: constants in exported files are f32 roundings of what was meant.
bool close_to(double a, double b);

// --- changing ---
// Every reader of `from`, and every graph output that is `from`, becomes one of `to`; a graph output keeps its name.
// False, and nothing happens, when that is impossible: a graph input, constant or other output cannot take the name.
bool replace_value(ir::Graph& graph, ir::ValueId from, ir::ValueId to);
// replace_value for the only output of `node`, then erases the node.
bool replace_node(ir::Graph& graph, ir::NodeId node, ir::ValueId to);
// Computes a node whose inputs are all constants, and whose outputs have static types and are no graph outputs, through
// its reference; its outputs become constants and the node goes. Nothing happens when the operator has no reference.
Status fold_node(ir::Graph& graph, ir::NodeId node);
// A shape as the `shape` attribute of reshape: numbers, and -1 for the symbolic dimension. std::nullopt when a
// dimension is 0 (which would mean "copy").
std::optional<std::vector<int64_t>> reshape_attribute(const Shape& shape);

}  // namespace hai::passes

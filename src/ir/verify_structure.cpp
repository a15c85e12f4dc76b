// The structural verifier: everything about a graph that can be checked without knowing what operators mean.
//
// Method: symbols and value types first, then the links between values and nodes in both directions, then order. Types
// are checked so that every size a device computes later (at the largest batch) is known to fit 63 bits. It runs after
// every pass and on everything that comes from a file, so it is linear in the size of the graph. Operators' own rules
// (operands, attributes, inferred types) are ops::verify's business.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "ir/graph.h"

namespace hai::ir {
namespace {

Error bad_value(const Value& value, std::string_view what) {
  return make_error(StatusCode::kCorrupt, "I020", "value \"{}\": {}", value.name, what);
}

Error bad_node(const Node& node, std::string_view what) {
  return make_error(StatusCode::kCorrupt, "I021", "node \"{}\" ({}): {}", node.name, node.op, what);
}

Status check_symbols(const Graph& graph) {
  for (size_t i = 0; i < graph.symbols.size(); ++i) {
    const Symbol& symbol = graph.symbols[i];
    if (symbol.name.empty() || symbol.min < 1 || symbol.max < symbol.min) {
      return make_error(StatusCode::kCorrupt, "I022",
                        "symbol {} \"{}\" has bounds {}..{}; a symbol needs a name and 1 <= min <= max", i, symbol.name,
                        symbol.min, symbol.max);
    }
    for (size_t j = 0; j < i; ++j) {
      if (graph.symbols[j].name == symbol.name) {
        return make_error(StatusCode::kCorrupt, "I023", "symbol \"{}\" is declared twice", symbol.name);
      }
    }
  }
  return {};
}

Status check_shape(const Graph& graph, const Value& value) {
  const Shape& shape = value.type.shape;
  if (shape.size() > static_cast<size_t>(kMaxRank)) {
    return bad_value(value, fmt::format("rank {} exceeds {}", shape.size(), kMaxRank));
  }
  for (const Dim& dim : shape) {
    if (dim.value < 0) {
      return bad_value(value, "shape " + to_string(shape, graph.symbols) + " has a negative dimension");
    }
    if (dim.is_symbolic() && static_cast<size_t>(dim.symbol) >= graph.symbols.size()) {
      return bad_value(value, "shape " + to_string(shape, graph.symbols) + " names a symbol the graph does not have");
    }
  }
  const auto count = element_count(shape);
  if (!count) {
    return bad_value(value, "shape " + to_string(shape, graph.symbols) +
                                " has more than 2^63 - 1 elements or more than one symbolic dimension");
  }
  auto bits = checked_mul<int64_t>(count->value, bit_width(value.type.dtype));
  if (bits && count->is_symbolic()) bits = checked_mul(*bits, graph.symbols[static_cast<size_t>(count->symbol)].max);
  if (!bits) {
    return bad_value(value, "shape " + to_string(shape, graph.symbols) + " needs more than 2^60 bytes");
  }
  return {};
}

// Number of scales that the type asks for; std::nullopt when the axis is symbolic or out of range.
std::optional<int64_t> scale_count(const TensorType& type, const Quantization& quantization) {
  if (quantization.per_tensor()) return quantization.block == 0 ? std::optional<int64_t>(1) : std::nullopt;
  const auto axis = static_cast<size_t>(quantization.axis);
  if (axis >= type.shape.size() || type.shape[axis].is_symbolic() || quantization.block < 0) return std::nullopt;
  if (quantization.block == 0) return type.shape[axis].value;
  Shape blocks = type.shape;
  const int64_t size = blocks[axis].value;
  blocks[axis].value = size / quantization.block + (size % quantization.block != 0 ? 1 : 0);
  const auto count = element_count(blocks);
  if (!count || count->is_symbolic()) return std::nullopt;
  return count->value;
}

Status check_quantization(const Value& value) {
  if (!value.type.quantization) return {};
  const Quantization& quantization = *value.type.quantization;
  const DataType dtype = value.type.dtype;
  if (!is_integer(dtype)) {
    return bad_value(value, fmt::format("quantization on {}; only integer tensors have one", data_type_name(dtype)));
  }
  const auto wanted = scale_count(value.type, quantization);
  if (!wanted || static_cast<size_t>(*wanted) != quantization.scales.size() ||
      quantization.scales.size() != quantization.zero_points.size()) {
    return bad_value(value, fmt::format("quantization along axis {} (block {}) has {} scales and {} zero points, which "
                                        "does not fit the shape",
                                        quantization.axis, quantization.block, quantization.scales.size(),
                                        quantization.zero_points.size()));
  }
  const bool narrow = bit_width(dtype) <= 32;
  const int64_t low = narrow ? std::max<int64_t>(integer_min(dtype), INT32_MIN) : INT32_MIN;
  const int64_t high = narrow ? std::min<int64_t>(integer_max(dtype), INT32_MAX) : INT32_MAX;
  for (size_t i = 0; i < quantization.scales.size(); ++i) {
    if (!std::isfinite(quantization.scales[i]) || quantization.scales[i] <= 0.0F) {
      return bad_value(value, fmt::format("scale {} is {}; scales are finite and positive", i, quantization.scales[i]));
    }
    if (quantization.zero_points[i] < low || quantization.zero_points[i] > high) {
      return bad_value(
          value, fmt::format("zero point {} is {}, outside {}", i, quantization.zero_points[i], data_type_name(dtype)));
    }
  }
  return {};
}

Status check_value(const Graph& graph, ValueId id) {
  const Value& value = graph.value(id);
  if (value.name.empty() || graph.find_value(value.name) != id) {
    return bad_value(value, "its name is empty or belongs to another value; names are unique");
  }
  if (static_cast<int>(value.type.dtype) >= kDataTypeCount) return bad_value(value, "unknown element type");
  HAI_TRY_STATUS(check_shape(graph, value));
  HAI_TRY_STATUS(check_quantization(value));
  if (value.is_constant()) {
    if (value.producer != kNone) return bad_value(value, "is a constant and has a producer");
    const auto count = element_count(value.type.shape);
    if (count->is_symbolic()) return bad_value(value, "is a constant of symbolic shape");
    const int64_t bytes = bytes_for(value.type.dtype, count->value);
    if (static_cast<int64_t>(value.constant->bytes().size()) != bytes) {
      return bad_value(
          value, fmt::format("constant has {} bytes, its type {}{} needs {}", value.constant->bytes().size(),
                             data_type_name(value.type.dtype), to_string(value.type.shape, graph.symbols), bytes));
    }
    return {};
  }
  if (value.producer == kNone) return {};  // check_interface() looks whether it is an input
  if (value.producer >= graph.node_slots() || !graph.node(value.producer).alive) {
    return bad_value(value, "its producer does not exist");
  }
  const Node& producer = graph.node(value.producer);
  if (value.producer_output >= producer.outputs.size() || producer.outputs[value.producer_output] != id) {
    return bad_value(value, "its producer does not write it");
  }
  return {};
}

Status check_interface(const Graph& graph) {
  std::vector<bool> is_input(graph.value_slots(), false);
  for (const ValueId id : graph.inputs()) {
    if (id >= graph.value_slots() || !graph.value(id).alive) {
      return make_error(StatusCode::kCorrupt, "I024", "a graph input does not exist (value {})", id);
    }
    const Value& value = graph.value(id);
    if (is_input[id] || value.producer != kNone || value.is_constant()) {
      return bad_value(value, "is a graph input twice, or is also a constant or a node's output");
    }
    is_input[id] = true;
  }
  for (ValueId id = 0; id < graph.value_slots(); ++id) {
    const Value& value = graph.value(id);
    if (value.alive && value.producer == kNone && !value.is_constant() && !is_input[id]) {
      return bad_value(value, "is neither an input nor a constant and no node writes it");
    }
  }
  for (const ValueId id : graph.outputs()) {
    if (id >= graph.value_slots() || !graph.value(id).alive) {
      return make_error(StatusCode::kCorrupt, "I025", "a graph output does not exist (value {})", id);
    }
  }
  return {};
}

// States are held by inputs of static shapes, one each, and become outputs of the same type.
Status check_states(const Graph& graph) {
  std::vector<bool> taken(graph.inputs().size() + graph.outputs().size(), false);
  for (size_t i = 0; i < graph.states.size(); ++i) {
    const State& state = graph.states[i];
    const auto bad_state = [i](std::string_view what) {
      return make_error(StatusCode::kCorrupt, "I026", "state {} {}", i, what);
    };
    if (state.input >= graph.inputs().size()) return bad_state("is held by an input that the graph does not have");
    const TensorType& type = graph.value(graph.inputs()[state.input]).type;
    if (taken[state.input]) return bad_state("is held by an input that holds another state");
    taken[state.input] = true;
    const auto count = element_count(type.shape);
    if (count->is_symbolic()) return bad_state("has a symbolic shape; states outlive a run and its batch");
    if (state.initial && static_cast<int64_t>(state.initial->bytes().size()) != bytes_for(type.dtype, count->value)) {
      return bad_state("begins with a number of bytes that its type does not have");
    }
    if (state.output == State::kKept) continue;
    if (state.output >= graph.outputs().size()) return bad_state("becomes an output that the graph does not have");
    if (taken[graph.inputs().size() + state.output]) return bad_state("becomes an output that another state becomes");
    taken[graph.inputs().size() + state.output] = true;
    if (graph.value(graph.outputs()[state.output]).type != type) {
      return bad_state("becomes an output of another type than the input that holds it");
    }
  }
  return {};
}

// Node -> value links; counts the operands that read each value.
Status check_nodes(const Graph& graph, std::vector<size_t>& reads) {
  for (NodeId id = 0; id < graph.node_slots(); ++id) {
    const Node& node = graph.node(id);
    if (!node.alive) continue;
    if (node.op.empty()) return bad_node(node, "has no operator");
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      if (input == kNone) continue;
      if (input >= graph.value_slots() || !graph.value(input).alive) {
        return bad_node(node, fmt::format("operand {} reads a value that does not exist", i));
      }
      ++reads[input];
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId output = node.outputs[i];
      if (output >= graph.value_slots() || !graph.value(output).alive || graph.value(output).producer != id ||
          graph.value(output).producer_output != i) {
        return bad_node(node, fmt::format("output {} is not a value of this node", i));
      }
    }
  }
  return {};
}

// Value -> node links: with the counts equal and every use right and told once, `uses` is exactly the multiset of
// operands.
Status check_uses(const Graph& graph, ValueId id, size_t reads) {
  const Value& value = graph.value(id);
  if (value.uses.size() != reads) {
    return bad_value(value, fmt::format("{} operands read it, its list of uses has {}", reads, value.uses.size()));
  }
  std::vector<std::pair<NodeId, uint32_t>> seen;
  seen.reserve(value.uses.size());
  for (const Use& use : value.uses) {
    if (use.node >= graph.node_slots() || !graph.node(use.node).alive ||
        use.operand >= graph.node(use.node).inputs.size() || graph.node(use.node).inputs[use.operand] != id) {
      return bad_value(value, "its list of uses names an operand that does not read it");
    }
    seen.emplace_back(use.node, use.operand);
  }
  std::sort(seen.begin(), seen.end());
  if (std::adjacent_find(seen.begin(), seen.end()) != seen.end()) {
    return bad_value(value, "its list of uses names an operand twice");
  }
  return {};
}

}  // namespace

Status verify_structure(const Graph& graph) {
  HAI_TRY_STATUS(check_symbols(graph));
  for (ValueId id = 0; id < graph.value_slots(); ++id) {
    if (graph.value(id).alive) HAI_TRY_STATUS(check_value(graph, id));
  }
  HAI_TRY_STATUS(check_interface(graph));
  HAI_TRY_STATUS(check_states(graph));
  std::vector<size_t> reads(graph.value_slots(), 0);
  HAI_TRY_STATUS(check_nodes(graph, reads));
  for (ValueId id = 0; id < graph.value_slots(); ++id) {
    if (graph.value(id).alive) HAI_TRY_STATUS(check_uses(graph, id, reads[id]));
  }
  HAI_TRY_STATUS(graph.ordered());
  return {};
}

}  // namespace hai::ir

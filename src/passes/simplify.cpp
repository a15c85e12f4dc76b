// Removes operators that change nothing and merges chains that are one operator.
//
// Method: one walk in topological order, a table of rules by operator; each rule either names the value that the node's
// result equals, or rewrites the node in place. The walk repeats until nothing changes. What counts as changing nothing
// includes the type: a rescale to the same scale goes, one to another scale stays. A node whose result is a graph
// output and whose input cannot take that name stays (see replace_value).
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "ops/build.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

// A rule returns the value that the node's first output equals, or kNone.
using Rule = ValueId (*)(const Graph& graph, const Node& node);

bool all_equal(const std::vector<int64_t>& values, int64_t expected) {
  return std::all_of(values.begin(), values.end(), [&](int64_t v) { return v == expected; });
}

// The result has the input's type: then an operator that only moves or converts elements did nothing.
ValueId same_type(const Graph& graph, const Node& node) {
  if (node.outputs.size() != 1) return kNone;
  return graph.value(node.inputs[0]).type == graph.value(node.outputs[0]).type ? node.inputs[0] : kNone;
}

ValueId identity_transpose(const Graph&, const Node& node) {
  const auto permutation = node.ints_attribute("permutation");
  for (size_t i = 0; i < permutation.size(); ++i) {
    if (permutation[i] != static_cast<int64_t>(i)) return kNone;
  }
  return permutation.empty() ? kNone : node.inputs[0];
}

ValueId whole_slice(const Graph& graph, const Node& node) {
  return all_equal(node.ints_attribute("steps"), 1) ? same_type(graph, node) : kNone;
}

ValueId zero_pad(const Graph& graph, const Node& node) {
  return all_equal(node.ints_attribute("pads"), 0) ? same_type(graph, node) : kNone;
}

ValueId single_concat(const Graph& graph, const Node& node) {
  return node.inputs.size() == 1 ? same_type(graph, node) : kNone;
}

ValueId unit_pool(const Graph& graph, const Node& node) {
  const bool unit =
      all_equal(node.ints_attribute("kernel"), 1) && all_equal(node.ints_attribute("pads", {0, 0, 0, 0}), 0);
  return unit ? same_type(graph, node) : kNone;
}

ValueId unit_reduce(const Graph& graph, const Node& node) {
  const Shape& shape = graph.value(node.inputs[0]).type.shape;
  const auto rank = static_cast<int64_t>(shape.size());
  const auto axes = node.ints_attribute("axes");
  if (axes.empty()) return kNone;
  for (const int64_t axis : axes) {
    if (shape[static_cast<size_t>(axis < 0 ? axis + rank : axis)] != Dim(1)) return kNone;
  }
  return same_type(graph, node);
}

// x + 0, x - 0, x * 1, x / 1, x ^ 1 of floats and plain integers.
ValueId neutral_operand(const Graph& graph, const Node& node) {
  const auto operand = scalar_operand(graph, node);
  if (!operand || is_quantized(graph.value(node.outputs[0]).type)) return kNone;
  const bool commutes = node.op == "add" || node.op == "mul";
  const double neutral = node.op == "add" || node.op == "sub" ? 0.0 : 1.0;
  if (operand->scalar != neutral || (operand->scalar_is_left && !commutes)) return kNone;
  return graph.value(operand->other).type == graph.value(node.outputs[0]).type ? operand->other : kNone;
}

// relu(relu(x)), relu(relu6(x)), relu6(relu6(x)) and the like: the outer one changes nothing.
ValueId repeated_clamp(const Graph& graph, const Node& node) {
  const NodeId inner = graph.value(node.inputs[0]).producer;
  if (inner == kNone) return kNone;
  const std::string& op = graph.node(inner).op;
  const bool repeats = op == "relu6" || (op == "relu" && node.op == "relu");
  return repeats ? same_type(graph, node) : kNone;
}

ValueId unit_resize(const Graph& graph, const Node& node) {
  const auto scales = node.floats_attribute("scales");
  const bool unit = std::all_of(scales.begin(), scales.end(), [](double scale) { return scale == 1.0; });
  return unit ? same_type(graph, node) : kNone;
}

ValueId open_clip(const Graph& graph, const Node& node) {
  const double low = node.float_attribute("min", -std::numeric_limits<double>::infinity());
  const double high = node.float_attribute("max", std::numeric_limits<double>::infinity());
  constexpr double kLargest = std::numeric_limits<float>::max();
  return low <= -kLargest && high >= kLargest ? same_type(graph, node) : kNone;
}

const std::map<std::string_view, Rule>& rules() {
  static const std::map<std::string_view, Rule> kRules = {
      {"reshape", same_type},
      {"cast", same_type},
      {"rescale", same_type},
      {"resize", unit_resize},
      {"transpose", identity_transpose},
      {"slice", whole_slice},
      {"split", same_type},
      {"pad", zero_pad},
      {"concat", single_concat},
      {"max_pool", unit_pool},
      {"average_pool", unit_pool},
      {"reduce_mean", unit_reduce},
      {"reduce_sum", unit_reduce},
      {"reduce_max", unit_reduce},
      {"reduce_min", unit_reduce},
      {"add", neutral_operand},
      {"sub", neutral_operand},
      {"mul", neutral_operand},
      {"div", neutral_operand},
      {"pow", neutral_operand},
      {"relu", repeated_clamp},
      {"relu6", repeated_clamp},
      {"clip", open_clip},
  };
  return kRules;
}

// reshape(reshape(x)) reads x itself.
bool merge_reshape(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op != "reshape") return false;
  const Node* inner = producer_if(graph, node.inputs[0], "reshape");
  if (inner == nullptr) return false;
  auto shape = reshape_attribute(graph.value(node.outputs[0]).type.shape);
  if (!shape) return false;
  graph.set_input(id, 0, inner->inputs[0]);
  graph.node(id).attributes["shape"] = std::move(*shape);
  return true;
}

// clip(clip(x)) with bounds that stay in order is one clip.
bool merge_clip(Graph& graph, NodeId id) {
  Node& node = graph.node(id);
  if (node.op != "clip" || is_quantized(graph.value(node.outputs[0]).type)) return false;
  const Node* inner = producer_if(graph, node.inputs[0], "clip");
  if (inner == nullptr) return false;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double low = std::max(node.float_attribute("min", -kInfinity), inner->float_attribute("min", -kInfinity));
  const double high = std::min(node.float_attribute("max", kInfinity), inner->float_attribute("max", kInfinity));
  if (!(low <= high)) return false;
  graph.set_input(id, 0, inner->inputs[0]);
  Node& merged = graph.node(id);
  if (low > -kInfinity) merged.attributes["min"] = low;
  if (high < kInfinity) merged.attributes["max"] = high;
  return true;
}

// x ^ 2 of floats is x * x, which rounds once as the power does.
bool square_of_power(Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  if (node.op != "pow" || scalar_constant(graph, node.inputs[1]) != 2.0) return false;
  const ir::TensorType type = graph.value(node.outputs[0]).type;
  const ValueId x = node.inputs[0];
  if (!is_float_type(type) || !(graph.value(x).type == type)) return false;
  const NodeId square = graph.add_node("square", {x}, {type}, {}, node.name);
  return replace_node(graph, id, graph.node(square).outputs[0]);
}

int64_t walk(Graph& graph, const std::vector<NodeId>& order) {
  int64_t changes = 0;
  for (const NodeId id : order) {
    if (!graph.node(id).alive) continue;
    if (merge_reshape(graph, id) || merge_clip(graph, id)) ++changes;
    if (square_of_power(graph, id)) {
      ++changes;
      continue;
    }
    const Node& node = graph.node(id);
    const auto rule = rules().find(node.op);
    if (rule == rules().end()) continue;
    const ValueId same = rule->second(graph, node);
    if (same != kNone && same != node.outputs[0] && replace_node(graph, id, same)) ++changes;
  }
  return changes;
}

}  // namespace

Result<PassStats> simplify(Graph& graph) {
  PassStats stats;
  for (;;) {
    HAI_TRY(const std::vector<NodeId> order, graph.ordered());
    const int64_t changes = walk(graph, order) + static_cast<int64_t>(graph.erase_dead());
    stats.changes += changes;
    if (changes == 0) return stats;
  }
}

}  // namespace hai::passes

// Finds activations in the operators that exporters spell them with.
//
//   clip(0, 6), min(relu(x), 6)                    -> relu6        clip(0, none)                    -> relu
//   clip(x + 3, 0, 6) / 6                          -> hard_sigmoid(1/6, 1/2)
//   x * hard_sigmoid(x; 1/6, 1/2), and the same with the division last                             -> hard_swish
//   x * sigmoid(x)                                 -> silu         x * tanh(softplus(x))            -> mish
//   x * (1 + erf(x / sqrt 2)) * 1/2, in any order  -> gelu
// Method: each node in topological order is tried as the last operator of a pattern; factors of a product are collected
// through nested mul and div, so that the order in which an exporter multiplies does not matter. Inner results may have
// other readers: they then stay. Constants match within float rounding. Float graphs only: in an integer graph every
// operator is a rounding point.
#include <array>
#include <cmath>
#include <limits>

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

struct Match {
  std::string_view op;
  ValueId input = kNone;
  ir::Attributes attributes;
};

constexpr double kSixth = 1.0 / 6.0;

// relu6 in either spelling: the clamped value, or kNone.
ValueId relu6_input(const Graph& graph, ValueId value) {
  if (const Node* node = producer_if(graph, value, "relu6")) return node->inputs[0];
  const Node* node = producer_if(graph, value, "clip");
  if (node == nullptr || node->float_attribute("min", -1) != 0.0 || node->float_attribute("max", 0) != 6.0)
    return kNone;
  return node->inputs[0];
}

// The value v with `value` == v + constant.
ValueId plus_constant(const Graph& graph, ValueId value, double constant) {
  const Node* node = producer_if(graph, value, "add");
  if (node == nullptr) return kNone;
  const auto operand = scalar_operand(graph, *node);
  return operand && close_to(operand->scalar, constant) ? operand->other : kNone;
}

// A product of values and a number: what nested mul and div by scalars amount to.
struct Product {
  double scalar = 1.0;
  std::vector<ValueId> factors;
};

void collect(const Graph& graph, ValueId value, int depth, Product& product) {
  constexpr int kDepth = 4;
  if (const auto scalar = scalar_constant(graph, value)) {
    product.scalar *= *scalar;
    return;
  }
  const Node* mul = producer_if(graph, value, "mul");
  if (mul != nullptr && depth < kDepth) {
    collect(graph, mul->inputs[0], depth + 1, product);
    collect(graph, mul->inputs[1], depth + 1, product);
    return;
  }
  const Node* div = producer_if(graph, value, "div");
  const auto divisor = div == nullptr ? std::nullopt : scalar_constant(graph, div->inputs[1]);
  if (divisor && depth < kDepth) {
    product.scalar /= *divisor;
    collect(graph, div->inputs[0], depth + 1, product);
    return;
  }
  product.factors.push_back(value);
}

// hard_sigmoid(alpha 1/6, beta 1/2) as an operator of its own: its input.
ValueId hard_sigmoid_input(const Graph& graph, ValueId value) {
  const Node* node = producer_if(graph, value, "hard_sigmoid");
  if (node == nullptr || !close_to(node->float_attribute("alpha", 0.2), kSixth) ||
      !close_to(node->float_attribute("beta", 0.5), 0.5)) {
    return kNone;
  }
  return node->inputs[0];
}

// 1 + erf(v / sqrt 2): v.
ValueId gelu_core(const Graph& graph, ValueId value) {
  const Node* erf = producer_if(graph, plus_constant(graph, value, 1.0), "erf");
  if (erf == nullptr) return kNone;
  Product argument;
  collect(graph, erf->inputs[0], 0, argument);
  if (argument.factors.size() == 1 && close_to(argument.scalar, 1.0 / std::sqrt(2.0))) return argument.factors[0];
  return kNone;
}

// The gate g(x) in x * g(x), when `gate` is one that is known.
std::optional<Match> gated(const Graph& graph, ValueId x, ValueId gate, double scalar) {
  const bool plain = close_to(scalar, 1.0);
  const Node* sigmoid = producer_if(graph, gate, "sigmoid");
  if (plain && sigmoid != nullptr && sigmoid->inputs[0] == x) return Match{"silu", x, {}};
  if (plain && hard_sigmoid_input(graph, gate) == x) return Match{"hard_swish", x, {}};
  const ValueId clamped = relu6_input(graph, gate);
  if (clamped != kNone && close_to(scalar, kSixth) && plus_constant(graph, clamped, 3.0) == x) {
    return Match{"hard_swish", x, {}};
  }
  const Node* tanh = producer_if(graph, gate, "tanh");
  const Node* softplus = tanh == nullptr ? nullptr : producer_if(graph, tanh->inputs[0], "softplus");
  if (plain && softplus != nullptr && softplus->inputs[0] == x) return Match{"mish", x, {}};
  if (close_to(scalar, 0.5) && gelu_core(graph, gate) == x) return Match{"gelu", x, {}};
  return std::nullopt;
}

std::optional<Match> match_product(const Graph& graph, const Node& node) {
  Product product;
  collect(graph, node.outputs[0], 0, product);
  if (product.factors.size() == 1) {
    const ValueId clamped = relu6_input(graph, product.factors[0]);
    const ValueId x = clamped == kNone ? kNone : plus_constant(graph, clamped, 3.0);
    if (x == kNone || !close_to(product.scalar, kSixth)) return std::nullopt;
    return Match{"hard_sigmoid", x, {{"alpha", kSixth}, {"beta", 0.5}}};
  }
  // silu(x) * more factors is met when the inner product is visited, so only whole products of two count here.
  if (product.factors.size() != 2) return std::nullopt;
  const auto [a, b] = std::array<ValueId, 2>{product.factors[0], product.factors[1]};
  if (auto match = gated(graph, a, b, product.scalar)) return match;
  return gated(graph, b, a, product.scalar);
}

std::optional<Match> match_clamp(const Graph& graph, const Node& node) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kLargest = std::numeric_limits<float>::max();
  if (node.op == "clip") {
    if (node.float_attribute("min", -kInfinity) != 0.0) return std::nullopt;
    const double high = node.float_attribute("max", kInfinity);
    if (high == 6.0) return Match{"relu6", node.inputs[0], {}};
    if (high >= kLargest) return Match{"relu", node.inputs[0], {}};
    return std::nullopt;
  }
  const auto operand = scalar_operand(graph, node);
  if (!operand) return std::nullopt;
  if (node.op == "max" && operand->scalar == 0.0) return Match{"relu", operand->other, {}};
  const Node* relu = producer_if(graph, operand->other, "relu");
  if (node.op == "min" && operand->scalar == 6.0 && relu != nullptr) return Match{"relu6", relu->inputs[0], {}};
  return std::nullopt;
}

std::optional<Match> match(const Graph& graph, const Node& node) {
  if (node.op == "mul" || node.op == "div") return match_product(graph, node);
  if (node.op == "clip" || node.op == "min" || node.op == "max") return match_clamp(graph, node);
  return std::nullopt;
}

}  // namespace

Result<PassStats> recognise_activations(Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  for (const NodeId id : order) {
    if (!graph.node(id).alive) continue;
    const ir::TensorType type = graph.value(graph.node(id).outputs[0]).type;
    if (!is_float_type(type)) continue;
    auto found = match(graph, graph.node(id));
    if (!found || graph.value(found->input).type != type) continue;  // operands that broadcast are something else
    ops::AppendOptions options;
    options.node_name = graph.node(id).name;
    HAI_TRY(const ValueId result,
            ops::append_value(graph, found->op, {found->input}, std::move(found->attributes), std::move(options)));
    if (replace_node(graph, id, result)) ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes

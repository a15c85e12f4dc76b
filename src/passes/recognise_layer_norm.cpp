// Finds layer_norm in the operators that exporters spell it with.
//
//   c = x - mean(x)      c / sqrt(mean(c^2) + epsilon)      then * scale and + bias, vectors along the last axis
//
// The square may be square, pow or a product, the division a product with the reciprocal. Method: each node in
// topological order is tried as the division; a product and an addition that alone read on from it are taken along, and
// ones stand for a scale that is not there. Inner results may have other readers: they then stay. Only means over the
// last axis, and float graphs: in an integer graph every operator is a rounding point.
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

// The value whose mean along the last axis `value` is, with that axis kept; kNone.
ValueId meant(const Graph& graph, ValueId value) {
  const Node* mean = producer_if(graph, value, "reduce_mean");
  if (mean == nullptr || mean->int_attribute("keep_dims", 1) == 0) return kNone;
  const auto rank = static_cast<int64_t>(graph.value(mean->inputs[0]).type.shape.size());
  const std::vector<int64_t> axes = mean->ints_attribute("axes", {});
  return axes.size() == 1 && (axes[0] == -1 || axes[0] == rank - 1) ? mean->inputs[0] : kNone;
}

// The value whose square `value` is; kNone.
ValueId squared(const Graph& graph, ValueId value) {
  if (const Node* square = producer_if(graph, value, "square")) return square->inputs[0];
  const Node* mul = producer_if(graph, value, "mul");
  if (mul != nullptr && mul->inputs[0] == mul->inputs[1]) return mul->inputs[0];
  const Node* pow = producer_if(graph, value, "pow");
  return pow != nullptr && scalar_constant(graph, pow->inputs[1]) == 2.0 ? pow->inputs[0] : kNone;
}

struct Normalized {
  ValueId x = kNone;
  double epsilon = 0.0;
};

// `centred` over `deviation`.
std::optional<Normalized> match(const Graph& graph, ValueId centred, ValueId deviation) {
  const Node* root = producer_if(graph, deviation, "sqrt");
  const Node* shifted = root == nullptr ? nullptr : producer_if(graph, root->inputs[0], "add");
  const auto epsilon = shifted == nullptr ? std::nullopt : scalar_operand(graph, *shifted);
  if (!epsilon || !(epsilon->scalar >= 0.0)) return std::nullopt;
  const ValueId square = meant(graph, epsilon->other);
  if (square == kNone || squared(graph, square) != centred) return std::nullopt;
  const Node* difference = producer_if(graph, centred, "sub");
  if (difference == nullptr || meant(graph, difference->inputs[1]) != difference->inputs[0]) return std::nullopt;
  return Normalized{difference->inputs[0], epsilon->scalar};
}

std::optional<Normalized> match(const Graph& graph, const Node& node) {
  if (node.op == "div") return match(graph, node.inputs[0], node.inputs[1]);
  if (node.op != "mul") return std::nullopt;
  for (const size_t centred : {size_t{0}, size_t{1}}) {
    const Node* inverse = producer_if(graph, node.inputs[1 - centred], "reciprocal");
    if (inverse == nullptr) continue;
    if (auto found = match(graph, node.inputs[centred], inverse->inputs[0])) return found;
  }
  return std::nullopt;
}

// The node that alone reads `value`, when it is an `op` with a vector along the last axis; and that vector.
struct Affine {
  NodeId node = kNone;
  ValueId vector = kNone;
};

Affine affine_after(const Graph& graph, ValueId value, std::string_view op) {
  const NodeId id = sole_reader(graph, value);
  if (id == kNone || graph.node(id).op != op) return {};
  const Node& node = graph.node(id);
  const ValueId other = node.inputs[node.inputs[0] == value ? 1 : 0];
  const ir::Value& vector = graph.value(other);
  const Shape& shape = graph.value(value).type.shape;
  const bool fits = vector.is_constant() && vector.type.dtype == graph.value(value).type.dtype &&
                    !vector.type.shape.empty() && vector.type.shape.back() == shape.back() &&
                    vector.type.shape.size() <= shape.size() && element_count(vector.type.shape) == shape.back();
  return fits ? Affine{id, other} : Affine{};
}

ValueId flat(Graph& graph, ValueId vector, Dim channels) {
  if (graph.value(vector).type.shape.size() == 1) return vector;
  ir::TensorType type = graph.value(vector).type;
  type.shape = {channels};
  const std::string name = graph.value(vector).name;
  const auto constant = graph.value(vector).constant;
  return graph.add_constant(name, std::move(type), constant);
}

}  // namespace

Result<PassStats> recognise_layer_norm(Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  for (const NodeId id : order) {
    if (!graph.node(id).alive) continue;
    const ValueId unit = graph.node(id).outputs[0];
    const ir::TensorType type = graph.value(unit).type;
    if (type.dtype != DataType::kF32 || type.shape.empty() || type.shape.back().is_symbolic()) continue;
    const auto found = match(graph, graph.node(id));
    if (!found || graph.value(found->x).type != type) continue;
    const Dim channels = type.shape.back();
    const Affine scale = affine_after(graph, unit, "mul");
    const Affine bias = affine_after(graph, scale.node == kNone ? unit : graph.node(scale.node).outputs[0], "add");
    const NodeId last = bias.node != kNone ? bias.node : scale.node != kNone ? scale.node : id;
    std::vector<ValueId> inputs = {found->x};
    if (scale.node != kNone) {
      inputs.push_back(flat(graph, scale.vector, channels));
    } else {
      const std::vector<float> ones(static_cast<size_t>(channels.value), 1.0F);
      inputs.push_back(ops::add_constant_f32(graph, graph.node(id).name + ".scale", {&channels.value, 1}, ones));
    }
    if (bias.node != kNone) inputs.push_back(flat(graph, bias.vector, channels));
    ops::AppendOptions options;
    options.node_name = graph.node(last).name;
    HAI_TRY(const ValueId result, ops::append_value(graph, "layer_norm", std::move(inputs),
                                                    {{"epsilon", found->epsilon}}, std::move(options)));
    if (replace_node(graph, last, result)) ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes

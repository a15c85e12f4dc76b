// Lets batch_norm_train apply the relu or relu6 that alone reads its y, and its gradient that of the activation.
//
// Patterns: batch_norm_train -> relu | relu6 (y read by nothing else), and behind it, in a graph that has been
// differentiated, unary_gradient of that activation's result, read by the batch_norm_train_gradient alone. The gradient
// then makes v again from x, and neither v nor the gradient between the two is written to memory. The mask is the same:
// relu' is 1 where 0 < v, relu6' where 0 < v < 6, and the activation's result says the same as v.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

bool is_plain(const Node& node) { return node.string_attribute("activation", "none") == "none"; }

// The gradients of this batch norm: nodes that read its mean.
std::vector<NodeId> gradients_of(const Graph& graph, const Node& norm) {
  std::vector<NodeId> out;
  for (const ir::Use& use : graph.value(norm.outputs[1]).uses) {
    if (graph.node(use.node).op == "batch_norm_train_gradient") out.push_back(use.node);
  }
  return out;
}

// The unary_gradient of `activation` that alone makes dy for `gradient`; kNone when dy comes from elsewhere.
NodeId activation_gradient(const Graph& graph, const Node& gradient, const Node& activation) {
  const Node* made = producer_if(graph, gradient.inputs[1], "unary_gradient");
  const bool fits = made != nullptr && is_plain(gradient) && made->inputs[0] == activation.outputs[0] &&
                    made->string_attribute("function", "") == activation.op && read_once(graph, gradient.inputs[1]);
  return fits ? graph.value(gradient.inputs[1]).producer : kNone;
}

bool fuse(Graph& graph, NodeId id) {
  const Node norm = graph.node(id);
  const NodeId reader = sole_reader(graph, norm.outputs[0]);
  if (reader == kNone) return false;
  const Node activation = graph.node(reader);
  if (activation.op != "relu" && activation.op != "relu6") return false;
  const std::vector<NodeId> gradients = gradients_of(graph, norm);
  std::vector<NodeId> masks;
  for (const NodeId gradient : gradients) {
    masks.push_back(activation_gradient(graph, graph.node(gradient), activation));
    if (masks.back() == kNone) return false;
  }
  if (!replace_node(graph, reader, norm.outputs[0])) return false;
  graph.node(id).attributes["activation"] = activation.op;
  for (size_t i = 0; i < gradients.size(); ++i) {
    graph.set_input(gradients[i], 1, graph.node(masks[i]).inputs[1]);
    graph.node(gradients[i]).attributes["activation"] = activation.op;
    graph.erase_node(masks[i]);
  }
  return true;
}

}  // namespace

Result<PassStats> fuse_batch_norm_activation(Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  for (const NodeId id : order) {
    if (!graph.node(id).alive || graph.node(id).op != "batch_norm_train" || !is_plain(graph.node(id))) continue;
    stats.changes += fuse(graph, id) ? 1 : 0;
  }
  return stats;
}

}  // namespace hai::passes

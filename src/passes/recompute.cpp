// Checkpointing of activations (Chen et al. 2016) with the cut that pays for convolutional networks: products are kept,
// what follows them is made again.
//
// A copy is younger than the nodes that read it, so the order of execution gives it their turn (execution_order): it is
// made when the first of them would be next, not before.
#include "passes/recompute.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

bool grows_with_batch(const Graph& graph, ValueId value) {
  return value != kNone && !is_static(graph.value(value).type.shape);
}

// One sweep over memory, or two.
bool is_cheap(const Node& node) {
  static const std::set<std::string_view> kCheap = {
      "batch_norm_train", "batch_norm", "relu", "relu6", "clip",     "leaky_relu", "sigmoid", "silu", "hard_sigmoid",
      "hard_swish",       "tanh",       "elu",  "gelu",  "softplus", "add",        "sub",     "mul",  "div"};
  return kCheap.contains(node.op);
}

class Recompute {
 public:
  Recompute(Graph& graph, ValueId loss) : graph_(graph), forward_(graph.node_slots(), false) { mark(loss); }

  Result<PassStats> run() {
    HAI_TRY(const std::vector<NodeId> order, graph_.ordered());
    PassStats stats;
    for (size_t i = order.size(); i > 0; --i) {
      const NodeId id = order[i - 1];
      if (!forward_[id] || !is_worth_it(graph_.node(id))) continue;
      copy(id);
      ++stats.changes;
    }
    return stats;
  }

 private:
  void mark(ValueId loss) {
    std::vector<ValueId> open = {loss};
    while (!open.empty()) {
      const NodeId producer = graph_.value(open.back()).producer;
      open.pop_back();
      if (producer == kNone || forward_[producer]) continue;
      forward_[producer] = true;
      for (const ValueId input : graph_.node(producer).inputs) {
        if (input != kNone) open.push_back(input);
      }
    }
  }

  bool is_backward(NodeId id) const { return id >= forward_.size() || !forward_[id]; }
  bool is_kept(ValueId value) const {
    if (graph_.is_input(value)) return true;
    const std::vector<ir::Use>& uses = graph_.value(value).uses;
    return std::any_of(uses.begin(), uses.end(), [&](const ir::Use& use) { return is_backward(use.node); });
  }

  // Its large result is wanted by both parts, and the one large operand that it needs again is there anyway.
  bool is_worth_it(const Node& node) const {
    if (!is_cheap(node) || !grows_with_batch(graph_, node.outputs[0])) return false;
    const std::vector<ir::Use>& uses = graph_.value(node.outputs[0]).uses;
    const bool both = std::any_of(uses.begin(), uses.end(), [&](const ir::Use& use) { return !is_backward(use.node); });
    if (!both || !is_kept(node.outputs[0]) || graph_.is_output(node.outputs[0])) return false;
    size_t large = 0;
    bool kept = true;
    for (const ValueId input : node.inputs) {
      if (!grows_with_batch(graph_, input)) continue;
      ++large;
      kept = kept && is_kept(input);
    }
    return large == 1 && kept;
  }

  void copy(NodeId id) {
    const Node node = graph_.node(id);  // a copy: the graph grows
    std::vector<ir::TensorType> types;
    for (const ValueId output : node.outputs) types.push_back(graph_.value(output).type);
    const NodeId again = graph_.add_node(node.op, node.inputs, std::move(types), node.attributes, node.name + "/again");
    const ValueId result = graph_.node(again).outputs[0];
    const std::vector<ir::Use> uses = graph_.value(node.outputs[0]).uses;
    for (const ir::Use& use : uses) {
      if (is_backward(use.node)) graph_.set_input(use.node, use.operand, result);
    }
  }

  Graph& graph_;
  std::vector<bool> forward_;  // of the nodes that were there
};

}  // namespace

Result<PassStats> recompute_activations(Graph& graph, ValueId loss) { return Recompute(graph, loss).run(); }

}  // namespace hai::passes

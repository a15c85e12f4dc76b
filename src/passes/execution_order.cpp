// Kahn's algorithm with extra edges from every reader of a state's old value to the node that makes its new value, and
// with a queue that prefers those makers. Other ties go by id, as in Graph::ordered(): forward nodes have lower ids
// than backward ones, and these follow the walk from the loss, so that order keeps few activations alive. A node that
// was added after one that reads it (an activation that is made again) has that reader's turn.
#include "passes/execution_order.h"

#include <algorithm>
#include <queue>
#include <utility>

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::NodeId;
using ir::ValueId;

class Order {
 public:
  explicit Order(const Graph& graph)
      : graph_(graph),
        waiting_(graph.node_slots(), 0),
        after_(graph.node_slots()),
        makes_state_(graph.node_slots()),
        turn_(graph.node_slots(), 0) {}

  Result<std::vector<NodeId>> run() {
    HAI_TRY(const std::vector<NodeId> by_id, graph_.ordered());  // a cycle of the graph itself has its own error
    take_turns(by_id);
    add_edges();
    for (NodeId id = 0; id < graph_.node_slots(); ++id) {
      if (graph_.node(id).alive && waiting_[id] == 0) push(id);
    }
    std::vector<NodeId> order;
    while (!updates_.empty() || !others_.empty()) {
      auto& queue = updates_.empty() ? others_ : updates_;
      const NodeId id = queue.top().second;
      queue.pop();
      order.push_back(id);
      for (const NodeId next : after_[id]) {
        if (--waiting_[next] == 0) push(next);
      }
    }
    if (order.size() != graph_.live_node_count()) return stuck();
    return order;
  }

 private:
  using Turn = std::pair<NodeId, NodeId>;  // the lowest id among a node and those that wait for it, and its own
  using Queue = std::priority_queue<Turn, std::vector<Turn>, std::greater<>>;

  void push(NodeId id) { (makes_state_[id] ? updates_ : others_).push({turn_[id], id}); }

  void take_turns(const std::vector<NodeId>& order) {
    for (size_t i = order.size(); i > 0; --i) {
      const NodeId id = order[i - 1];
      turn_[id] = id;
      for (const ValueId output : graph_.node(id).outputs) {
        for (const ir::Use& use : graph_.value(output).uses) turn_[id] = std::min(turn_[id], turn_[use.node]);
      }
    }
  }
  void add_edge(NodeId from, NodeId to) {
    after_[from].push_back(to);
    ++waiting_[to];
  }

  void add_edges() {
    for (NodeId id = 0; id < graph_.node_slots(); ++id) {
      if (!graph_.node(id).alive) continue;
      for (const ValueId input : graph_.node(id).inputs) {
        if (input != kNone && graph_.value(input).producer != kNone) add_edge(graph_.value(input).producer, id);
      }
    }
    for (const ir::State& state : graph_.states) {
      if (state.output == ir::State::kKept) continue;
      const NodeId maker = graph_.value(graph_.outputs()[state.output]).producer;
      if (maker == kNone) continue;
      makes_state_[maker] = true;
      add_readers(graph_.inputs()[state.input], maker);
    }
  }

  // A reshaped tensor may be the same bytes under another shape.
  void add_readers(ValueId value, NodeId maker) {
    for (const ir::Use& use : graph_.value(value).uses) {
      if (use.node == maker) continue;
      add_edge(use.node, maker);
      if (graph_.node(use.node).op == "reshape") add_readers(graph_.node(use.node).outputs[0], maker);
    }
  }

  Error stuck() const {
    NodeId id = 0;
    while (!graph_.node(id).alive || waiting_[id] == 0 || !makes_state_[id]) ++id;
    return make_error(StatusCode::kUnsupported, "P510",
                      "node \"{}\" ({}) cannot write its new state over the old one: a node reads the old state and "
                      "something made from the new; read the new state there",
                      graph_.node(id).name, graph_.node(id).op);
  }

  const Graph& graph_;
  std::vector<uint32_t> waiting_;
  std::vector<std::vector<NodeId>> after_;
  std::vector<bool> makes_state_;
  std::vector<NodeId> turn_;
  Queue updates_;
  Queue others_;
};

}  // namespace

Result<std::vector<NodeId>> execution_order(const Graph& graph) {
  return graph.states.empty() ? graph.ordered() : Order(graph).run();
}

}  // namespace hai::passes

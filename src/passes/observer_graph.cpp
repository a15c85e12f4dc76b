// Builds observers from operators that every device has: the largest (least) element of a tensor, and the larger
// (smaller) of that and the state, which its kernel writes in place.
//
// Invariant: no node but an observer's reads or writes the states of ranges.
#include "passes/observer_graph.h"

#include <utility>

#include "ops/build.h"
#include "passes/training_graph.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::ValueId;

size_t index_of(const Graph& graph, ValueId input) {
  size_t index = 0;
  while (graph.inputs()[index] != input) ++index;
  return index;
}

// A new state that becomes `choose` of itself and `reduce` of all elements of `value`.
Status observe(Graph& graph, ValueId value, const std::string& name, const char* reduce, const char* choose) {
  const ValueId state = graph.add_input(name, {DataType::kF32, {}, std::nullopt});
  ops::AppendOptions options;
  options.node_name = name;
  options.output_names = {name + "/seen"};
  HAI_TRY(const ValueId seen, ops::append_value(graph, reduce, {value}, {{"keep_dims", int64_t{0}}}, options));
  options.output_names = {name + "/next"};
  HAI_TRY(const ValueId next, ops::append_value(graph, choose, {state, seen}, {}, options));
  graph.states.push_back({index_of(graph, state), graph.outputs().size(), nullptr, false});
  graph.add_output(next);
  return {};
}

}  // namespace

Status make_observer_graph(Graph& graph, std::span<const ValueId> changed, std::span<const std::string> values,
                           std::span<const std::string> low, std::span<const std::string> high) {
  HAI_CHECK(values.size() == low.size() && values.size() == high.size());
  for (const ValueId constant : changed) {
    HAI_TRY_STATUS(split_bias(graph, constant));
    const std::string name = graph.value(constant).name;
    graph.rename_value(constant, name + "/initial");
    const ValueId input = graph.add_input(name, graph.value(constant).type);
    graph.replace_uses(constant, input);
    graph.states.push_back({index_of(graph, input), ir::State::kKept, graph.value(constant).constant, true});
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const auto value = graph.find_value(values[i]);  // after a split: the sum has the name
    HAI_CHECK(value.has_value());
    HAI_TRY_STATUS(observe(graph, *value, low[i], "reduce_min", "min"));
    HAI_TRY_STATUS(observe(graph, *value, high[i], "reduce_max", "max"));
  }
  graph.erase_dead();
  return {};
}

}  // namespace hai::passes

// Reverse mode over a graph: walks the nodes between the wanted values and the loss backwards and applies their rules.
// Each value's gradient is complete when its producer is visited, since all its readers come later in the order.
// Rules add nodes and values at the end, so the forward part keeps its ids.
#include "passes/differentiate.h"

#include <fmt/format.h>

#include "ops/build.h"
#include "ops/gradient.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::NodeId;
using ir::ValueId;

class Differentiation {
 public:
  Differentiation(Graph& graph, std::span<const ValueId> wanted) : graph_(graph) {
    depends_.resize(graph.value_slots(), false);
    for (const ValueId value : wanted) depends_[value] = true;
    gradients_.resize(graph.value_slots(), kNone);
  }

  Status run(ValueId loss) {
    HAI_TRY(const std::vector<NodeId> order, graph_.ordered());
    for (const NodeId id : order) mark(graph_.node(id));
    if (!depends_[loss]) return {};
    const ir::TensorType type = graph_.value(loss).type;
    gradients_[loss] = ops::add_number(graph_, type, 1.0);
    for (size_t i = order.size(); i > 0; --i) HAI_TRY_STATUS(visit(order[i - 1]));
    return {};
  }

  ValueId gradient(ValueId value) const { return gradients_[value]; }

 private:
  // What is computed from a wanted value through floats depends on it.
  void mark(const ir::Node& node) {
    bool any = false;
    for (const ValueId input : node.inputs) any = any || (input != kNone && depends_[input]);
    if (!any || ops::GradientRegistry::instance().is_flat(node.op)) return;
    for (const ValueId output : node.outputs) {
      const ir::TensorType& type = graph_.value(output).type;
      depends_[output] = depends_[output] || is_float(type.dtype);
    }
  }

  Status visit(NodeId id) {
    const ir::Node node = graph_.node(id);  // a copy: rules add nodes
    std::vector<ValueId> dy;
    bool any = false;
    for (const ValueId output : node.outputs) {
      dy.push_back(gradients_[output]);
      any = any || dy.back() != kNone;
    }
    std::vector<bool> wants;
    bool wants_any = false;
    for (const ValueId input : node.inputs) {
      wants.push_back(input != kNone && depends_[input]);
      wants_any = wants_any || wants.back();
    }
    if (!any || !wants_any) return {};
    const auto& registry = ops::GradientRegistry::instance();
    if (registry.is_flat(node.op)) return {};
    const ops::GradientRule rule = registry.find(node.op);
    if (rule == nullptr) return no_rule(node);
    ops::GradientContext context(graph_, node, dy, wants);
    HAI_TRY(const std::vector<ValueId> parts, rule(context));
    for (size_t i = 0; i < node.inputs.size() && i < parts.size(); ++i) {
      if (wants[i] && parts[i] != kNone) HAI_TRY_STATUS(add_part(node.inputs[i], parts[i]));
    }
    return {};
  }

  Status add_part(ValueId value, ValueId part) {
    if (gradients_[value] == kNone) {
      gradients_[value] = part;
      return {};
    }
    HAI_TRY(gradients_[value], ops::append_value(graph_, "add", {gradients_[value], part}));
    return {};
  }

  Error no_rule(const ir::Node& node) const {
    std::string cuts;
    for (const ValueId output : node.outputs) {
      if (gradients_[output] != kNone)
        cuts += fmt::format("{}\"{}\"", cuts.empty() ? "" : ", ", graph_.value(output).name);
    }
    return make_error(
        StatusCode::kUnsupported, "P503",
        "{} \"{}\" has no gradient; train only what comes after {}, or take the operator out of the model", node.op,
        node.name, cuts);
  }

  Graph& graph_;
  std::vector<bool> depends_;       // by value of the forward graph: a wanted value reaches it
  std::vector<ValueId> gradients_;  // the sum so far, or kNone
};

}  // namespace

Result<std::vector<ValueId>> differentiate(Graph& graph, ValueId loss, std::span<const ValueId> wanted) {
  const ir::TensorType& type = graph.value(loss).type;
  const auto count = element_count(type.shape);
  if (!is_float(type.dtype) || !count || *count != Dim(1)) {
    return make_error(StatusCode::kInvalidArgument, "P501", "the loss \"{}\" is {} {}: it must be one float",
                      graph.value(loss).name, data_type_name(type.dtype), to_string(type.shape, graph.symbols));
  }
  for (const ValueId value : wanted) {
    const DataType dtype = graph.value(value).type.dtype;
    if (is_float(dtype)) continue;
    return make_error(StatusCode::kInvalidArgument, "P502", "\"{}\" is {}: only floats have gradients",
                      graph.value(value).name, data_type_name(dtype));
  }
  Differentiation run(graph, wanted);
  HAI_TRY_STATUS(run.run(loss));
  std::vector<ValueId> out;
  for (const ValueId value : wanted) out.push_back(run.gradient(value));
  return out;
}

}  // namespace hai::passes

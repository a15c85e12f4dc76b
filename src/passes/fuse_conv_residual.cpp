// Lets convolutions and matrix products add the residual, and apply the activation that follows the sum.
//
// Pattern: conv2d | winograd_conv2d | matmul without residual -> add(result, r), result read by the addition alone, r
// of the same shape;
// then a clamp (floats: any activation) that alone reads the sum. Of two candidates the one that runs later takes the
// other's result. In integer graphs the convolution's own scale and zero point become pre_residual_scale and
// pre_residual_zero_point (with pre_residual_bits where it is an i16 and the sum is not): the value is still rounded
// there before it is added, exactly as by the operator `add`, and a clamp is fused only when it shares the sum's scale.
#include <algorithm>

#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

bool takes_residual(const Graph& graph, NodeId id) {
  if (id == kNone || !graph.node(id).alive) return false;
  const Node& node = graph.node(id);
  if (node.op != "conv2d" && node.op != "winograd_conv2d" && node.op != "matmul") return false;
  const bool dequantizes =
      is_integer(graph.value(node.inputs[0]).type.dtype) && is_float(graph.value(node.outputs[0]).type.dtype);
  return !dequantizes && (node.inputs.size() < 4 || node.inputs[3] == kNone) &&
         node.string_attribute("residual_activation", "none") == "none";
}

// The type in which the convolution's result enters the sum fits the epilogue: floats of one type, or integers with one
// scale each, the residual of the sum's type.
bool types_fit(const ir::TensorType& x, const ir::TensorType& result, const ir::TensorType& residual,
               const ir::TensorType& sum) {
  if (result.shape != residual.shape || result.shape != sum.shape) return false;
  if (residual.dtype != sum.dtype || (result.dtype != sum.dtype && !is_wide_point(x, result, sum))) return false;
  if (is_float(result.dtype)) return true;
  const auto one_scale = [](const ir::TensorType& type) {
    return type.quantization && type.quantization->per_tensor();
  };
  return one_scale(result) && one_scale(residual) && one_scale(sum);
}

// The points of a node whose result was i16 and becomes one of 8 bits.
void keep_points_wide(Node& node) {
  node.attributes["pre_residual_bits"] = int64_t{16};
  if (node.has_attribute("conv_scale")) node.attributes["conv_bits"] = int64_t{16};
}

void set_operand(Graph& graph, NodeId id, size_t operand, ValueId value) {
  while (graph.node(id).inputs.size() <= operand) graph.append_input(id, kNone);
  graph.set_input(id, operand, value);
}

bool fuse_addition(Graph& graph, NodeId id, NodeId addition) {
  const ValueId result = graph.node(id).outputs[0];
  const ValueId sum = graph.node(addition).outputs[0];
  const auto& operands = graph.node(addition).inputs;
  const ValueId residual = operands[0] == result ? operands[1] : operands[0];
  const ir::TensorType before = graph.value(result).type;
  const ir::TensorType after = graph.value(sum).type;
  const ir::TensorType x = graph.value(graph.node(id).inputs[0]).type;
  if (residual == result || !types_fit(x, before, graph.value(residual).type, after)) return false;
  if (!replace_node(graph, addition, result)) return false;
  set_operand(graph, id, 3, residual);
  graph.value(result).type = after;
  if (before.quantization) {
    graph.node(id).attributes["pre_residual_scale"] = static_cast<double>(before.quantization->scales[0]);
    graph.node(id).attributes["pre_residual_zero_point"] = static_cast<int64_t>(before.quantization->zero_points[0]);
    if (is_wide_point(x, before, after)) keep_points_wide(graph.node(id));
  }
  return true;
}

// The activation that alone reads the sum.
void fuse_reader(Graph& graph, NodeId id) {
  const ValueId result = graph.node(id).outputs[0];
  const NodeId reader = sole_reader(graph, result);
  if (reader == kNone) return;
  const Node& activation = graph.node(reader);
  const bool clip = activation.op == "clip" && activation.has_attribute("min") && activation.has_attribute("max");
  if (activation.op != "relu" && activation.op != "relu6" && !clip) return;
  if (graph.value(activation.outputs[0]).type != graph.value(result).type) return;
  ir::Attributes attributes{{"residual_activation", activation.op}};
  if (clip) {
    attributes["residual_activation_lo"] = activation.float_attribute("min", 0);
    attributes["residual_activation_hi"] = activation.float_attribute("max", 0);
  }
  if (!replace_node(graph, reader, result)) return;
  for (auto& [name, attribute] : attributes) graph.node(id).attributes.insert_or_assign(name, std::move(attribute));
}

}  // namespace

Result<PassStats> fuse_conv_residual(Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  std::vector<size_t> position(graph.node_slots(), 0);
  for (size_t i = 0; i < order.size(); ++i) position[order[i]] = i;
  for (const NodeId addition : order) {
    if (!graph.node(addition).alive || graph.node(addition).op != "add") continue;
    std::vector<NodeId> candidates;
    for (const ValueId operand : graph.node(addition).inputs) {
      const NodeId producer = graph.value(operand).producer;
      if (takes_residual(graph, producer) && sole_reader(graph, operand) == addition) candidates.push_back(producer);
    }
    std::sort(candidates.begin(), candidates.end(), [&](NodeId a, NodeId b) { return position[a] > position[b]; });
    for (const NodeId candidate : candidates) {
      if (!fuse_addition(graph, candidate, addition)) continue;
      fuse_reader(graph, candidate);
      ++stats.changes;
      break;
    }
  }
  return stats;
}

}  // namespace hai::passes

// Lets convolutions and matrix products apply the activation that alone reads their result.
//
// Pattern: conv2d | winograd_conv2d | conv_transpose2d | matmul without activation or residual -> unary or clip, read
// by nothing else. Floats: any activation. Integers: a clamp (relu, relu6, clip) whose scale and zero point are those
// of the result becomes tighter bounds; any other activation is a table, and the result's scale and zero point are kept
// in conv_scale and conv_zero_point as the rounding point in front of it, with conv_bits where that is an i16 and the
// table's result is not. Clamps that change the scale stay apart: they
// are tables of their own, which costs nothing in accuracy and keeps every rounding where the graph has it.
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

bool is_clamp(std::string_view op) { return op == "relu" || op == "relu6" || op == "clip"; }

// Activations that the epilogue takes, beside the clamps: those without a parameter, or with `alpha` alone.
bool is_table_activation(std::string_view op) {
  constexpr std::string_view kNames[] = {"silu", "hard_swish", "sigmoid", "tanh",    "gelu",
                                         "mish", "leaky_relu", "elu",     "softplus"};
  for (const std::string_view name : kNames) {
    if (op == name) return true;
  }
  return op == "hard_sigmoid";
}

// An integer convolution with an f32 result takes no activation: it has no integer to clamp or to look up.
bool dequantizes(const Graph& graph, const Node& node) {
  return is_integer(graph.value(node.inputs[0]).type.dtype) && is_float(graph.value(node.outputs[0]).type.dtype);
}

bool takes_activation(const Graph& graph, const Node& node) {
  const bool known =
      node.op == "conv2d" || node.op == "winograd_conv2d" || node.op == "conv_transpose2d" || node.op == "matmul";
  if (!known || dequantizes(graph, node)) return false;
  const bool residual = node.inputs.size() > 3 && node.inputs[3] != kNone;
  return !residual && node.string_attribute("activation", "none") == "none" &&
         node.string_attribute("residual_activation", "none") == "none";
}

// Attributes of the fused node that say which activation; std::nullopt when the epilogue has no form for it.
std::optional<ir::Attributes> activation_attributes(const Node& activation, const ir::TensorType& x,
                                                    const ir::TensorType& before, const ir::TensorType& after) {
  ir::Attributes attributes{{"activation", activation.op}};
  if (activation.op == "clip") {
    if (!activation.has_attribute("min") || !activation.has_attribute("max")) return std::nullopt;
    attributes["activation_lo"] = activation.float_attribute("min", 0);
    attributes["activation_hi"] = activation.float_attribute("max", 0);
  }
  for (const char* parameter : {"alpha", "beta"}) {
    if (activation.has_attribute(parameter)) {
      attributes[std::string("activation_") + parameter] = activation.float_attribute(parameter, 0);
    }
  }
  if (is_float(before.dtype)) return before == after ? std::optional(attributes) : std::nullopt;
  if (!before.quantization || !after.quantization) return std::nullopt;
  if (!before.quantization->per_tensor() || !after.quantization->per_tensor()) return std::nullopt;
  if (is_clamp(activation.op)) return before == after ? std::optional(attributes) : std::nullopt;
  const bool wide_point = is_wide_point(x, before, after);
  if (before.dtype != after.dtype && !wide_point) return std::nullopt;
  if (wide_point) attributes["conv_bits"] = int64_t{16};
  attributes["conv_scale"] = static_cast<double>(before.quantization->scales[0]);
  attributes["conv_zero_point"] = static_cast<int64_t>(before.quantization->zero_points[0]);
  return attributes;
}

}  // namespace

Result<PassStats> fuse_conv_activation(Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<NodeId> order, graph.ordered());
  for (const NodeId id : order) {
    if (!graph.node(id).alive || !takes_activation(graph, graph.node(id))) continue;
    const ValueId result = graph.node(id).outputs[0];
    const NodeId reader = sole_reader(graph, result);
    if (reader == kNone) continue;
    const Node& activation = graph.node(reader);
    if (!is_clamp(activation.op) && !is_table_activation(activation.op)) continue;
    const ir::TensorType after = graph.value(activation.outputs[0]).type;
    auto attributes =
        activation_attributes(activation, graph.value(graph.node(id).inputs[0]).type, graph.value(result).type, after);
    if (!attributes) continue;
    if (!replace_node(graph, reader, result)) continue;
    graph.value(result).type = after;
    for (auto& [name, attribute] : *attributes) graph.node(id).attributes.insert_or_assign(name, std::move(attribute));
    ++stats.changes;
  }
  return stats;
}

}  // namespace hai::passes

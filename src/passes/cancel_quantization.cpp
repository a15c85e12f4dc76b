// Removes quantize after dequantize where both have the same type.
//
// quantize(dequantize(q)) == q for every integer q of up to 16 bits: scale * (q - z) is rounded once to f32, and the
// quotient by the same scale lies well within half a step of q - z. The opposite pair, dequantize(quantize(x)), rounds
// and stays.
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {

Result<PassStats> cancel_quantization(ir::Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    if (!graph.node(id).alive || graph.node(id).op != "quantize") continue;
    const ir::Node* inner = producer_if(graph, graph.node(id).inputs[0], "dequantize");
    if (inner == nullptr) continue;
    const ir::TensorType& type = graph.value(inner->inputs[0]).type;
    if (type != graph.value(graph.node(id).outputs[0]).type || bit_width(type.dtype) > 16) continue;
    if (replace_node(graph, id, inner->inputs[0])) ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes

// Gives f32 convolutions and matrix products the integers of weights that stand behind a dequantize.
//
// A product of f32 with integer weights computes what dequantize and the product would (docs/reference/arithmetic.md,
// weight-only quantization), from a quarter or an eighth of the bytes: folding such a dequantize would write an f32
// copy of the weights into the file. What the operator's type rules refuse (other types, a batch of matrices, scales
// along another axis) stays behind its dequantize. fuse_quantization runs this before it folds what is left.
#include "ops/build.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

bool keeps(ir::Graph& graph, ir::NodeId id) {
  const ir::Node& node = graph.node(id);
  if (node.op != "conv2d" && node.op != "conv_transpose2d" && node.op != "matmul") return false;
  const ir::Node* dequantize = producer_if(graph, node.inputs[1], "dequantize");
  if (dequantize == nullptr || graph.value(node.inputs[0]).type.dtype != DataType::kF32) return false;
  const ir::ValueId real = node.inputs[1];
  const ir::ValueId integers = dequantize->inputs[0];
  const ir::Value& weights = graph.value(integers);
  if (!weights.is_constant() || (node.op == "matmul" && weights.type.shape.size() != 2)) return false;
  graph.set_input(id, 1, integers);
  if (ops::infer_node(graph, id)) return true;
  graph.set_input(id, 1, real);
  return false;
}

}  // namespace

Result<PassStats> keep_integer_weights(ir::Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    if (graph.node(id).alive && keeps(graph, id)) ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes

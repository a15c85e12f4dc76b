// Unary functions of quantized tensors on the NPU: a table of all integers of an 8-bit tensor.
//
// A tensor of 16 bits would need 65,536 entries, all of a core's weight cache. Where it comes from 8 bits by functions
// alone, the table is over those (lower/chain.h); else the CPU has it.
#include "devices/sd3403/lower/chain.h"
#include "types/unary_functions.h"

namespace hai::sd3403 {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(require_integers(graph, node, node.inputs[0]));
  HAI_TRY_STATUS(require_integers(graph, node, node.outputs[0]));
  if (!comes_from_bytes(graph, node.outputs[0])) return refuse(node, "a function of 16 bits needs a table of 128 KB");
  return {};
}

Status lower(SegmentBuilder& builder) {
  if (lower_chain(builder)) return {};
  return refuse(builder.node(), "no 8-bit tensor that it is a function of");
}

}  // namespace

void register_unary_lower(LowerRegistry& registry);
void register_unary_lower(LowerRegistry& registry) {
  for (const UnaryFunction& function : unary_functions()) registry.add(std::string(function.name), {supports, lower});
}

}  // namespace hai::sd3403

// Element-wise functions of two operands on the CPU: f32, and quantized tensors of 8 and 16 bits;
// sums, differences and products of f16.
//
// One instruction as it is. Plain integers (shape arithmetic) are folded at compile time; multipliers out of range are
// refused here, where the compiler can still say so.
#include "devices/cpu/lower/supports.h"
#include "types/binary_table.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  const bool sums = node.op == "add" || node.op == "sub" || node.op == "mul";
  if (sums && graph.value(node.outputs[0]).type.dtype == DataType::kF16)
    return supports_elementwise(graph, node, ops::set_of({DataType::kF16}));
  HAI_TRY_STATUS(supports_elementwise(graph, node, ops::set_of({DataType::kF32}) | ops::kQuantizedTypes));
  if (graph.value(node.outputs[0]).type.dtype == DataType::kF32) return {};
  const float a = scale_of(graph, node.inputs[0]);
  const float b = scale_of(graph, node.inputs[1]);
  const float y = scale_of(graph, node.outputs[0]);
  if (node.op == "mul") return supports_multiplier(node, hai_multiplier_product(a, b, y));
  HAI_TRY_STATUS(supports_multiplier(node, hai_multiplier_ratio(a, y)));
  if (node.op == "prelu") return supports_multiplier(node, hai_multiplier_product(a, b, y));
  return supports_multiplier(node, hai_multiplier_ratio(b, y));
}

}  // namespace

void register_binary_lower(LowerRegistry& registry);
void register_binary_lower(LowerRegistry& registry) {
#define HAI_ADD(name, ...) registry.add(#name, {supports, lower_as_is});
  HAI_BINARY_TABLE(HAI_ADD)
#undef HAI_ADD
}

}  // namespace hai::cpu

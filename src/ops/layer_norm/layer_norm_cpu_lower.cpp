// layer_norm on the CPU: f32, and i8, u8 and i16 with one scale, in any mixture of these three; scale and bias
// constant.
//
// One instruction as it is.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  constexpr ops::DataTypeSet kTypes = ops::set_of({DataType::kF32}) | ops::kQuantizedTypes;
  HAI_TRY_STATUS(supports_operand(graph, node, 0, kTypes));
  for (size_t operand = 1; operand < node.inputs.size(); ++operand) {
    HAI_TRY_STATUS(supports_operand(graph, node, operand, ops::set_of({DataType::kF32})));
    if (node.inputs[operand] == ir::kNone || graph.value(node.inputs[operand]).is_constant()) continue;
    return make_error(StatusCode::kUnsupported, "C061", "layer_norm on cpu: scale and bias must be constants");
  }
  return {};
}

}  // namespace

void register_layer_norm_lower(LowerRegistry& registry);
void register_layer_norm_lower(LowerRegistry& registry) { registry.add("layer_norm", {supports, lower_as_is}); }

}  // namespace hai::cpu

// quantize on the CPU: f32 or f16 to i8, u8 or i16 with one scale. One instruction as it is.
//
// Scales per axis occur on weights only, which are folded at compile time.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  constexpr ops::DataTypeSet kFloats = ops::set_of({DataType::kF32, DataType::kF16});
  HAI_TRY_STATUS(supports_operand(graph, node, 0, kFloats));
  return supports_elementwise(graph, node, kFloats | ops::kQuantizedTypes);
}

}  // namespace

void register_quantize_lower(LowerRegistry& registry);
void register_quantize_lower(LowerRegistry& registry) { registry.add("quantize", {supports, lower_as_is}); }

}  // namespace hai::cpu

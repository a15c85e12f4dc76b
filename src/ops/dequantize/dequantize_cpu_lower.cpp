// dequantize on the CPU: i8, u8 and i16 with one scale to f32. One instruction as it is.
//
// Scales per axis occur on weights only, which are folded at compile time.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_operand(graph, node, 0, ops::kQuantizedTypes);
}

}  // namespace

void register_dequantize_lower(LowerRegistry& registry);
void register_dequantize_lower(LowerRegistry& registry) { registry.add("dequantize", {supports, lower_as_is}); }

}  // namespace hai::cpu

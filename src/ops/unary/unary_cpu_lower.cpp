// Unary functions on the CPU: f32; f16 and quantized tensors of 8 and 16 bits by table.
//
// One instruction with the function's own name. Plain integers (shape arithmetic) are folded at compile time.
#include "devices/cpu/lower/supports.h"
#include "types/unary_functions.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::set_of({DataType::kF32, DataType::kF16}) | ops::kQuantizedTypes);
}

}  // namespace

void register_unary_lower(LowerRegistry& registry);
void register_unary_lower(LowerRegistry& registry) {
  for (const UnaryFunction& function : unary_functions()) {
    registry.add(std::string(function.name), {supports, lower_as_is});
  }
}

}  // namespace hai::cpu

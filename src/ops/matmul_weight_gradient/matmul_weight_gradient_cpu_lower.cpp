// matmul_weight_gradient on the CPU: f32, one instruction of the same name.
// It carries no attributes: sizes are those of the operands, and the rows, a free batch among them, are known when it
// runs. Other float types are refused by name; training runs in f32.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::set_of({DataType::kF32}));
}

}  // namespace

void register_matmul_weight_gradient_lower(LowerRegistry& registry);
void register_matmul_weight_gradient_lower(LowerRegistry& registry) {
  registry.add("matmul_weight_gradient", {supports, lower_as_is});
}

}  // namespace hai::cpu

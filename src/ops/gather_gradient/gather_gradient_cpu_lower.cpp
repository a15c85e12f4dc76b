// gather_gradient on the CPU: f32, one instruction of the same name.
//
// Other float types are refused by name, since training runs in f32.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_operand(graph, node, 1, ops::set_of({DataType::kF32}));
}

}  // namespace

void register_gather_gradient_lower(LowerRegistry& registry);
void register_gather_gradient_lower(LowerRegistry& registry) {
  registry.add("gather_gradient", {supports, lower_as_is});
}

}  // namespace hai::cpu

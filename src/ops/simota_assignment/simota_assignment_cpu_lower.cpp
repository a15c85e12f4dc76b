// simota_assignment on the CPU: f32, one instruction of the same name.
//
// Other float types are refused by name, since training runs in f32.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_operand(graph, node, 0, ops::set_of({DataType::kF32}));
}

}  // namespace

void register_simota_assignment_lower(LowerRegistry& registry);
void register_simota_assignment_lower(LowerRegistry& registry) {
  registry.add("simota_assignment", {supports, lower_as_is});
}

}  // namespace hai::cpu

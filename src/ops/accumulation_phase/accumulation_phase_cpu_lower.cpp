// accumulation_phase on the CPU: one instruction as it is.
// The number of the step is an i64 scalar, the others are f32.
// Other float types are refused by name; training runs in f32.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_operand(graph, node, 1, ops::set_of({DataType::kF32}));
}

}  // namespace

void register_accumulation_phase_lower(LowerRegistry& registry);
void register_accumulation_phase_lower(LowerRegistry& registry) {
  registry.add("accumulation_phase", {supports, lower_as_is});
}

}  // namespace hai::cpu

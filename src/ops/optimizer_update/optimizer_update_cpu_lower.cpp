// sgd_update and adam_update on the CPU: f32, one instruction as it is.
// Adam's number of the step is an i64 scalar. Outputs may be the memory of the operands that they replace, which is how
// training changes its state (devices/cpu/lower/lower.cpp). Other float types are refused by name.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  const size_t step = node.op == "adam_update" ? 5 : SIZE_MAX;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (i == step || node.inputs[i] == ir::kNone) continue;
    HAI_TRY_STATUS(supports_operand(graph, node, i, ops::set_of({DataType::kF32})));
  }
  return {};
}

}  // namespace

void register_optimizer_update_lower(LowerRegistry& registry);
void register_optimizer_update_lower(LowerRegistry& registry) {
  registry.add("sgd_update", {supports, lower_as_is});
  registry.add("adam_update", {supports, lower_as_is});
}

}  // namespace hai::cpu

// conv2d_weight_gradient on the CPU: f32, one instruction of the same name.
// The kernel size follows from the result and is checked again when the kernel is made.
// Other float types are refused by name, since training runs in f32.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::set_of({DataType::kF32}));
}

}  // namespace

void register_conv2d_weight_gradient_lower(LowerRegistry& registry);
void register_conv2d_weight_gradient_lower(LowerRegistry& registry) {
  registry.add("conv2d_weight_gradient", {supports, lower_as_is});
}

}  // namespace hai::cpu

// fake_quantize and its backward step on the CPU: f32, instructions of the same names.
// Axis and limit are checked again when the kernel is made, since program files are hostile.
// Other float types are refused by name; training runs in f32.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::set_of({DataType::kF32}));
}

}  // namespace

void register_fake_quantize_lower(LowerRegistry& registry);
void register_fake_quantize_lower(LowerRegistry& registry) {
  for (const char* op : {"fake_quantize", "fake_quantize_gradient"}) registry.add(op, {supports, lower_as_is});
}

}  // namespace hai::cpu

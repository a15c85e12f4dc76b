// guarded_update on the CPU: f32, one instruction of the same name.
// Its result may be the memory of the old value, which is how states are changed in place.
// Other float types are refused by name; training runs in f32.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::set_of({DataType::kF32}));
}

}  // namespace

void register_guarded_update_lower(LowerRegistry& registry);
void register_guarded_update_lower(LowerRegistry& registry) { registry.add("guarded_update", {supports, lower_as_is}); }

}  // namespace hai::cpu

// softmax on the CPU: f32, and i8 or u8 with one scale. One instruction as it is.
//
// Any axis; the last one is the quick case.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::set_of({DataType::kF32}) | ops::kQuantized8);
}

}  // namespace

void register_softmax_lower(LowerRegistry& registry);
void register_softmax_lower(LowerRegistry& registry) { registry.add("softmax", {supports, lower_as_is}); }

}  // namespace hai::cpu

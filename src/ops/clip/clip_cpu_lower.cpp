// clip on the CPU: f32; f16 and quantized tensors of 8 and 16 bits by table. One instruction as it is.
//
// Plain integers (shape arithmetic) are folded at compile time.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::set_of({DataType::kF32, DataType::kF16}) | ops::kQuantizedTypes);
}

}  // namespace

void register_clip_lower(LowerRegistry& registry);
void register_clip_lower(LowerRegistry& registry) { registry.add("clip", {supports, lower_as_is}); }

}  // namespace hai::cpu

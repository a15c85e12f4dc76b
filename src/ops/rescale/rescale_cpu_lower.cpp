// rescale on the CPU: 8- and 16-bit operands. One instruction as it is.
//
// i32 operands are refused: no pass leaves one behind.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::kQuantizedTypes);
}

}  // namespace

void register_rescale_lower(LowerRegistry& registry);
void register_rescale_lower(LowerRegistry& registry) { registry.add("rescale", {supports, lower_as_is}); }

}  // namespace hai::cpu

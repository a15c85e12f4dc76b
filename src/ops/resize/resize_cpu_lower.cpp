// resize on the CPU: one instruction as it stands.
//
// Nearest moves elements of any type of whole bytes; linear takes f32, and i8, u8 and i16 with one scale.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  const bool linear = node.string_attribute("mode", "nearest") == "linear";
  return linear ? supports_f32_and_quantized(graph, node) : supports_whole_bytes(graph, node);
}

}  // namespace

void register_resize_lower(LowerRegistry& registry);
void register_resize_lower(LowerRegistry& registry) { registry.add("resize", {supports, lower_as_is}); }

}  // namespace hai::cpu

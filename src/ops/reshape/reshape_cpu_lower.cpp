// reshape on the CPU: the output shares the bytes of the input.
//
// No instruction, unless the memory of one cannot be that of the other (see LowerContext::alias).
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports_all(const ir::Graph&, const ir::Node&) { return {}; }

Status lower_as_alias(LowerContext& context) {
  context.alias(context.node().outputs[0], context.node().inputs[0]);
  return {};
}

}  // namespace

void register_reshape_lower(LowerRegistry& registry);
void register_reshape_lower(LowerRegistry& registry) { registry.add("reshape", {supports_all, lower_as_alias}); }

}  // namespace hai::cpu

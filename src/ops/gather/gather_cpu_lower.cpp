// gather on the CPU: one instruction as it stands.
//
// Elements of any type of whole bytes; indices are i32 or i64, as the operator demands.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {

void register_gather_lower(LowerRegistry& registry);
void register_gather_lower(LowerRegistry& registry) { registry.add("gather", {supports_whole_bytes, lower_as_is}); }

}  // namespace hai::cpu

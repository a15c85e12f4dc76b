// expand on the CPU: one instruction as it stands.
//
// The kernel moves elements of any type of whole bytes.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {

void register_expand_lower(LowerRegistry& registry);
void register_expand_lower(LowerRegistry& registry) { registry.add("expand", {supports_whole_bytes, lower_as_is}); }

}  // namespace hai::cpu

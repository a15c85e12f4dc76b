// split on the CPU: one instruction with an output for each part.
//
// The kernel moves elements of any type of whole bytes.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {

void register_split_lower(LowerRegistry& registry);
void register_split_lower(LowerRegistry& registry) { registry.add("split", {supports_whole_bytes, lower_as_is}); }

}  // namespace hai::cpu

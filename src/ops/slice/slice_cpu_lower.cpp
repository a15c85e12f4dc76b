// slice on the CPU: one instruction as it stands.
//
// The kernel moves elements of any type of whole bytes.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {

void register_slice_lower(LowerRegistry& registry);
void register_slice_lower(LowerRegistry& registry) { registry.add("slice", {supports_whole_bytes, lower_as_is}); }

}  // namespace hai::cpu

// transpose on the CPU: one instruction as it stands.
//
// The kernel picks its loops when it knows the sizes; elements of any type of whole bytes.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {

void register_transpose_lower(LowerRegistry& registry);
void register_transpose_lower(LowerRegistry& registry) {
  registry.add("transpose", {supports_whole_bytes, lower_as_is});
}

}  // namespace hai::cpu

// max_pool on the CPU: one instruction as it stands.
//
// The kernels take f32, f16, and i8, u8 and i16 with one scale, which may differ between input and output.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {

void register_max_pool_lower(LowerRegistry& registry);
void register_max_pool_lower(LowerRegistry& registry) {
  registry.add("max_pool", {supports_floats_and_quantized, lower_as_is});
}

}  // namespace hai::cpu

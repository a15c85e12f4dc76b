// average_pool on the CPU: one instruction as it stands.
//
// The kernels take f32, f16, and i8, u8 and i16 with one scale; inference has proved the range of the sums.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {

void register_average_pool_lower(LowerRegistry& registry);
void register_average_pool_lower(LowerRegistry& registry) {
  registry.add("average_pool", {supports_floats_and_quantized, lower_as_is});
}

}  // namespace hai::cpu

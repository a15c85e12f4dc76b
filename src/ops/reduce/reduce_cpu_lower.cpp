// The reductions on the CPU: one instruction as it stands.
//
// The kernels take f32, and those of means f16, and i8, u8 and i16 with one scale; plain integers (shape arithmetic)
// are folded at compile time.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {

void register_reduce_lower(LowerRegistry& registry);
void register_reduce_lower(LowerRegistry& registry) {
  for (const char* name : {"reduce_mean", "reduce_sum", "reduce_max", "reduce_min"}) {
    registry.add(name,
                 {name == std::string_view("reduce_mean") ? supports_floats_and_quantized : supports_f32_and_quantized,
                  lower_as_is});
  }
}

}  // namespace hai::cpu

// conv_transpose2d on the CPU: f32, i8 or u8 with i8 or i4 weights, and i16 with i16, i8 or i4 weights.
//
// One instruction; exec turns it into one ordinary convolution for each phase of the stride. Weights of an f32 one that
// are no constants are packed in each run.
#include "devices/cpu/lower/product_supports.h"

namespace hai::cpu {

void register_conv_transpose2d_lower(LowerRegistry& registry);
void register_conv_transpose2d_lower(LowerRegistry& registry) {
  registry.add("conv_transpose2d", {supports_convolution, lower_convolution});
}

}  // namespace hai::cpu

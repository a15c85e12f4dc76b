// conv2d on the CPU: f32, i8 or u8 with i8 or i4 weights, and i16 with i16, i8 or i4 weights.
//
// One instruction; exec chooses between matrix product and depthwise kernels, and packs the weights: once, or in each
// run where those of an f32 conv2d are no constants. Float types other than f32 and f16 have the reference only.
#include "devices/cpu/lower/product_supports.h"

namespace hai::cpu {

void register_conv2d_lower(LowerRegistry& registry);
void register_conv2d_lower(LowerRegistry& registry) {
  registry.add("conv2d", {supports_convolution, lower_convolution});
}

}  // namespace hai::cpu

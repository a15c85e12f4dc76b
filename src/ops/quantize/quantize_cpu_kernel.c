/* f32 to stored integers with hai_quantize itself: an IEEE division, a clamp, one rounding. */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "types/arithmetic.h"

/* Bytes: the same for i8 and u8, since the low bits of the stored integer are what is kept. */
void HAI_KERNEL(hai_quantize_8)(const float* x, uint8_t* y, int64_t count, float scale, int32_t zero_point, int32_t lo,
                                int32_t hi);
void HAI_KERNEL(hai_quantize_8)(const float* x, uint8_t* y, int64_t count, float scale, int32_t zero_point, int32_t lo,
                                int32_t hi) {
  const hai_output_range out = {zero_point, lo, hi};
  for (int64_t i = 0; i < count; ++i) y[i] = (uint8_t)hai_quantize(x[i], scale, out);
}

void HAI_KERNEL(hai_quantize_16)(const float* x, int16_t* y, int64_t count, float scale, int32_t zero_point, int32_t lo,
                                 int32_t hi);
void HAI_KERNEL(hai_quantize_16)(const float* x, int16_t* y, int64_t count, float scale, int32_t zero_point, int32_t lo,
                                 int32_t hi) {
  const hai_output_range out = {zero_point, lo, hi};
  for (int64_t i = 0; i < count; ++i) y[i] = (int16_t)hai_quantize(x[i], scale, out);
}

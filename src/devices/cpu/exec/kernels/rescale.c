/* Rescale of 8- and 16-bit integers: hai_rescale() for each element (types/arithmetic.h), written so that the compiler
 * vectorises it: one product, one clamp, one rounding an element, in f32, for 16 bits in f64
 * (hai_rescale_wide). x and y may be the same array. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "types/arithmetic.h"

void HAI_KERNEL(rescale_s8)(const int8_t* x, int8_t* y, int64_t count, int32_t zero_x, float multiplier,
                            hai_output_range out) {
  for (int64_t i = 0; i < count; ++i) y[i] = (int8_t)hai_rescale(x[i], zero_x, multiplier, out);
}

void HAI_KERNEL(rescale_u8)(const uint8_t* x, uint8_t* y, int64_t count, int32_t zero_x, float multiplier,
                            hai_output_range out) {
  for (int64_t i = 0; i < count; ++i) y[i] = (uint8_t)hai_rescale(x[i], zero_x, multiplier, out);
}

void HAI_KERNEL(rescale_s16)(const int16_t* x, int16_t* y, int64_t count, int32_t zero_x, float multiplier,
                             hai_output_range out) {
  for (int64_t i = 0; i < count; ++i) y[i] = (int16_t)hai_rescale_wide(x[i], zero_x, multiplier, out);
}

/* Bytes of i8 or u8. */
void HAI_KERNEL(rescale_s16_bytes)(const int16_t* restrict x, uint8_t* restrict y, int64_t count, int32_t zero_x,
                                   float multiplier, hai_output_range out) {
  for (int64_t i = 0; i < count; ++i) y[i] = (uint8_t)hai_rescale_wide(x[i], zero_x, multiplier, out);
}

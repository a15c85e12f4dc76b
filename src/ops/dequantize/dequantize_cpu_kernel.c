/* Stored integers to f32 with hai_dequantize itself. */
#include "devices/cpu/exec/kernel_name.h"
#include "types/arithmetic.h"

#define HAI_DEQUANTIZE(name, type)                                                                 \
  void HAI_KERNEL(name)(const type* x, float* y, int64_t count, float scale, int32_t zero_point);  \
  void HAI_KERNEL(name)(const type* x, float* y, int64_t count, float scale, int32_t zero_point) { \
    for (int64_t i = 0; i < count; ++i) y[i] = hai_dequantize(x[i], scale, zero_point);            \
  }

HAI_DEQUANTIZE(hai_dequantize_i8, int8_t)
HAI_DEQUANTIZE(hai_dequantize_u8, uint8_t)
HAI_DEQUANTIZE(hai_dequantize_i16, int16_t)

/* One output row of a linear resize, NHWC: blends two input rows and, in each, two pixels.
 *
 * `first` and `second` are the offsets (in elements) of the two pixels of each output pixel. f32: along the row, then
 * between the rows. 8 bits: weights in 1/2048, products of the two axes in 2^-22, exact in i32 (|q| <= 255 gives at
 * most 255 * 2^22 < 2^31), then hai_requantize_i32. 16 bits: the same in i64.
 */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "types/arithmetic.h"

void HAI_KERNEL(resize_linear_row_f32)(const float* top, const float* bottom, float fraction_y, const int64_t* first,
                                       const int64_t* second, const float* fraction_x, int64_t out_width,
                                       int64_t channels, float* restrict y) {
  for (int64_t i = 0; i < out_width; ++i) {
    const float* a = top + first[i];
    const float* b = top + second[i];
    const float* p = bottom + first[i];
    const float* q = bottom + second[i];
    const float right = fraction_x[i];
    const float left = 1.0F - right;
    const float down = fraction_y;
    const float up = 1.0F - down;
    for (int64_t c = 0; c < channels; ++c) {
      const float upper = a[c] * left + b[c] * right;
      const float lower = p[c] * left + q[c] * right;
      y[c] = upper * up + lower * down;
    }
    y += channels;
  }
}

#define RESIZE_LINEAR_ROW(suffix, type, sum_type, requantize)                                                        \
  void HAI_KERNEL(resize_linear_row_##suffix)(const type* top, const type* bottom, int32_t weight_y,                 \
                                              const int64_t* first, const int64_t* second, const int32_t* weight_x,  \
                                              int64_t out_width, int64_t channels, int32_t zero_x, float multiplier, \
                                              hai_output_range out, type* restrict y) {                              \
    const int32_t down = weight_y;                                                                                   \
    const int32_t up = HAI_RESIZE_ONE - weight_y;                                                                    \
    for (int64_t i = 0; i < out_width; ++i) {                                                                        \
      const type* a = top + first[i];                                                                                \
      const type* b = top + second[i];                                                                               \
      const type* p = bottom + first[i];                                                                             \
      const type* q = bottom + second[i];                                                                            \
      const int32_t right = weight_x[i];                                                                             \
      const int32_t left = HAI_RESIZE_ONE - right;                                                                   \
      for (int64_t c = 0; c < channels; ++c) {                                                                       \
        const sum_type upper = (sum_type)(a[c] - zero_x) * left + (sum_type)(b[c] - zero_x) * right;                 \
        const sum_type lower = (sum_type)(p[c] - zero_x) * left + (sum_type)(q[c] - zero_x) * right;                 \
        y[c] = (type)requantize(upper * up + lower * down, multiplier, out);                                         \
      }                                                                                                              \
      y += channels;                                                                                                 \
    }                                                                                                                \
  }

RESIZE_LINEAR_ROW(s8, int8_t, int32_t, hai_requantize_i32)
RESIZE_LINEAR_ROW(u8, uint8_t, int32_t, hai_requantize_i32)
RESIZE_LINEAR_ROW(s16, int16_t, int64_t, hai_requantize_i64)

/* Average of the taps of one pooling window, for every channel. The window is a grid of rows x columns taps, all inside
 * the picture; the divisor may count padding too.
 *
 * f32: taps are added row by row, one division at the end. 8 bits: sums in i32, 16 bits in i64 (the caller proves their
 * range), then hai_requantize_i32 or _i64. Channels go in chunks whose sums stay in the nearest cache.
 */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "types/arithmetic.h"

#define CHUNK 256

void HAI_KERNEL(average_pool_f32)(const float* x, int64_t row_stride, int64_t column_stride, int64_t rows,
                                  int64_t columns, int64_t channels, float divisor, float* restrict y) {
  for (int64_t c = 0; c < channels; ++c) y[c] = x[c];
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = r == 0 ? 1 : 0; k < columns; ++k) {
      const float* tap = x + r * row_stride + k * column_stride;
      for (int64_t c = 0; c < channels; ++c) y[c] += tap[c];
    }
  }
  for (int64_t c = 0; c < channels; ++c) y[c] /= divisor;
}

#define AVERAGE_POOL(suffix, type, sum_type, requantize)                                                         \
  void HAI_KERNEL(average_pool_##suffix)(const type* x, int64_t row_stride, int64_t column_stride, int64_t rows, \
                                         int64_t columns, int64_t channels, int32_t zero_x, float multiplier,    \
                                         hai_output_range out, type* y) {                                        \
    const sum_type zero_sum = (sum_type)(rows * columns) * zero_x;                                               \
    sum_type sum[CHUNK];                                                                                         \
    for (int64_t first = 0; first < channels; first += CHUNK) {                                                  \
      const int64_t count = channels - first < CHUNK ? channels - first : CHUNK;                                 \
      for (int64_t c = 0; c < count; ++c) sum[c] = -zero_sum;                                                    \
      for (int64_t r = 0; r < rows; ++r) {                                                                       \
        for (int64_t k = 0; k < columns; ++k) {                                                                  \
          const type* tap = x + first + r * row_stride + k * column_stride;                                      \
          for (int64_t c = 0; c < count; ++c) sum[c] += tap[c];                                                  \
        }                                                                                                        \
      }                                                                                                          \
      for (int64_t c = 0; c < count; ++c) y[first + c] = (type)requantize(sum[c], multiplier, out);              \
    }                                                                                                            \
  }

AVERAGE_POOL(s8, int8_t, int32_t, hai_requantize_i32)
AVERAGE_POOL(u8, uint8_t, int32_t, hai_requantize_i32)
AVERAGE_POOL(s16, int16_t, int64_t, hai_requantize_i64)

/* The two sweeps of batch_norm_train over [rows][width] numbers, one set of parameters a column.
 *
 * Loops over columns, which compilers vectorise; rows are taken two by two, so that sums are read and written half as
 * often. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"

/* sum[c] = sum of x - shift[c], square[c] = sum of its square. */
void HAI_KERNEL(hai_batch_norm_moments_f32)(const float* x, const float* shift, int64_t rows, int64_t width,
                                            float* restrict sum, float* restrict square);
void HAI_KERNEL(hai_batch_norm_moments_f32)(const float* x, const float* shift, int64_t rows, int64_t width,
                                            float* restrict sum, float* restrict square) {
  for (int64_t c = 0; c < width; ++c) sum[c] = square[c] = 0.0F;
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) {
    const float* a = x + r * width;
    const float* b = a + width;
    HAI_INDEPENDENT
    for (int64_t c = 0; c < width; ++c) {
      const float d = a[c] - shift[c];
      const float e = b[c] - shift[c];
      sum[c] += d + e;
      square[c] += d * d + e * e;
    }
  }
  for (; r < rows; ++r) {
    const float* a = x + r * width;
    HAI_INDEPENDENT
    for (int64_t c = 0; c < width; ++c) {
      const float d = a[c] - shift[c];
      sum[c] += d;
      square[c] += d * d;
    }
  }
}

/* y = min(high, max(low, x factor + offset)); a NaN stays one. */
void HAI_KERNEL(hai_batch_norm_apply_f32)(const float* x, const float* factor, const float* offset, int64_t rows,
                                          int64_t width, float low, float high, float* restrict y);
void HAI_KERNEL(hai_batch_norm_apply_f32)(const float* x, const float* factor, const float* offset, int64_t rows,
                                          int64_t width, float low, float high, float* restrict y) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * width;
    float* to = y + r * width;
    HAI_INDEPENDENT
    for (int64_t c = 0; c < width; ++c) {
      float v = from[c] * factor[c] + offset[c];
      v = low > v ? low : v;
      to[c] = high < v ? high : v;
    }
  }
}

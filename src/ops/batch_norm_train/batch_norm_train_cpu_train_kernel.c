/* The two sweeps of batch_norm_train over [rows][width] numbers, one set of parameters a column.
 *
 * Loops over columns, which compilers vectorise; rows are taken two by two, so that sums are read and written half as
 * often. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "devices/cpu/train/kernels/stream.h"

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

/* `tail` 0: a whole vector, else so many elements. */
HAI_INLINE void apply(const float* x, const float* factor, const float* offset, vec low, vec high, float* y,
                      const int stream, const int tail) {
  if (tail != 0) {
    const vec v = v_fma(v_load_n(x, tail), v_load_n(factor, tail), v_load_n(offset, tail));
    v_store_n(y, v_min(high, v_max(low, v)), tail);
    return;
  }
  const vec v = v_min(high, v_max(low, v_fma(v_load(x), v_load(factor), v_load(offset))));
  if (stream) {
    v_stream(y, v);
  } else {
    v_store(y, v);
  }
}

HAI_INLINE void apply_rows(const float* x, const float* factor, const float* offset, int64_t rows, int64_t width,
                           float low, float high, float* y, const int stream) {
  const vec lo = v_set(low);
  const vec hi = v_set(high);
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    int64_t c = 0;
    for (; c + HAI_LANES <= width; c += HAI_LANES) apply(x + c, factor + c, offset + c, lo, hi, y + c, stream, 0);
    if (c < width) apply(x + c, factor + c, offset + c, lo, hi, y + c, stream, (int)(width - c));
  }
}

/* y = min(high, max(low, x factor + offset)); a NaN stays one. `stream`: past the caches, y and its rows aligned. */
void HAI_KERNEL(hai_batch_norm_apply_f32)(const float* x, const float* factor, const float* offset, int64_t rows,
                                          int64_t width, float low, float high, float* y, int32_t stream);
void HAI_KERNEL(hai_batch_norm_apply_f32)(const float* x, const float* factor, const float* offset, int64_t rows,
                                          int64_t width, float low, float high, float* y, int32_t stream) {
  if (stream) {
    apply_rows(x, factor, offset, rows, width, low, high, y, 1);
    v_stream_end();
  } else {
    apply_rows(x, factor, offset, rows, width, low, high, y, 0);
  }
}

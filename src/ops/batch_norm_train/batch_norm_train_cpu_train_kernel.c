/* The two sweeps of batch_norm_train over [rows][width] numbers, one set of parameters a column.
 *
 * Loops over columns, which compilers vectorise; rows are taken two by two, so that sums are read and written half as
 * often. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "devices/cpu/train/kernels/batch_norm_columns.h"
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
HAI_INLINE vec normal(const float* x, const float* mean, const float* factor, const float* bias, const int tail) {
  if (tail == 0) return v_fma(v_sub(v_load(x), v_load(mean)), v_load(factor), v_load(bias));
  return v_fma(v_sub(v_load_n(x, tail), v_load_n(mean, tail)), v_load_n(factor, tail), v_load_n(bias, tail));
}

HAI_INLINE void apply_rows(const float* x, const hai_batch_norm_columns* p, int64_t rows, float* y, const int stream) {
  const float* mean = p->mean;
  const float* factor = p->factor;
  const float* bias = p->bias;
  const int64_t width = p->width;
  const vec low = v_set(p->low);
  const vec high = v_set(p->high);
  for (int64_t r = 0; r < rows; ++r, x += width, y += width) {
    int64_t c = 0;
    for (; c + HAI_LANES <= width; c += HAI_LANES) {
      const vec v = v_min(high, v_max(low, normal(x + c, mean + c, factor + c, bias + c, 0)));
      if (stream) {
        v_stream(y + c, v);
      } else {
        v_store(y + c, v);
      }
    }
    if (c == width) continue;
    const int tail = (int)(width - c);
    v_store_n(y + c, v_min(high, v_max(low, normal(x + c, mean + c, factor + c, bias + c, tail))), tail);
  }
}

/* y = min(high, max(low, (x - mean) factor + bias)); a NaN stays one. `stream`: past the caches, y and its rows
 * aligned.
 */
void HAI_KERNEL(hai_batch_norm_apply_f32)(const float* x, const hai_batch_norm_columns* p, int64_t rows, float* y,
                                          int32_t stream);
void HAI_KERNEL(hai_batch_norm_apply_f32)(const float* x, const hai_batch_norm_columns* p, int64_t rows, float* y,
                                          int32_t stream) {
  if (stream) {
    apply_rows(x, p, rows, y, 1);
    v_stream_end();
  } else {
    apply_rows(x, p, rows, y, 0);
  }
}

/* The two sweeps of batch_norm_train_gradient over [rows][width] numbers, one set of parameters a column.
 *
 * g is dy where v = x factor + offset, what the activation was given, lies between low and high; without an activation
 * these are infinite. Loops over columns, which compilers vectorise. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "devices/cpu/train/kernels/stream.h"

/* sum[c] = sum of g, product[c] = sum of g (x - mean[c]) */
void HAI_KERNEL(hai_batch_norm_gradient_sums_f32)(const float* x, const float* dy, const float* factor,
                                                  const float* offset, const float* mean, int64_t rows, int64_t width,
                                                  float low, float high, float* restrict sum, float* restrict product);
void HAI_KERNEL(hai_batch_norm_gradient_sums_f32)(const float* x, const float* dy, const float* factor,
                                                  const float* offset, const float* mean, int64_t rows, int64_t width,
                                                  float low, float high, float* restrict sum, float* restrict product) {
  for (int64_t c = 0; c < width; ++c) sum[c] = product[c] = 0.0F;
  for (int64_t r = 0; r < rows; ++r) {
    const float* a = x + r * width;
    const float* b = dy + r * width;
    HAI_INDEPENDENT
    for (int64_t c = 0; c < width; ++c) {
      const float v = a[c] * factor[c] + offset[c];
      const float g = ((v > low) & (v < high)) ? b[c] : 0.0F;
      sum[c] += g;
      product[c] += g * (a[c] - mean[c]);
    }
  }
}

typedef struct {
  const float *factor, *offset, *slope, *shift;
  vec low, high;
} parameters;

/* dx = g factor + (x slope + shift). `tail` 0: a whole vector, else so many elements. */
HAI_INLINE void apply(const float* x, const float* dy, const parameters* p, int64_t c, float* dx, const int stream,
                      const int tail) {
  const vec a = tail == 0 ? v_load(x) : v_load_n(x, tail);
  const vec b = tail == 0 ? v_load(dy) : v_load_n(dy, tail);
  const vec factor = tail == 0 ? v_load(p->factor + c) : v_load_n(p->factor + c, tail);
  const vec offset = tail == 0 ? v_load(p->offset + c) : v_load_n(p->offset + c, tail);
  const vec slope = tail == 0 ? v_load(p->slope + c) : v_load_n(p->slope + c, tail);
  const vec shift = tail == 0 ? v_load(p->shift + c) : v_load_n(p->shift + c, tail);
  const vec g = v_between(b, v_fma(a, factor, offset), p->low, p->high);
  const vec y = v_fma(g, factor, v_fma(a, slope, shift));
  if (tail != 0) {
    v_store_n(dx, y, tail);
  } else if (stream) {
    v_stream(dx, y);
  } else {
    v_store(dx, y);
  }
}

HAI_INLINE void apply_rows(const float* x, const float* dy, const parameters* p, int64_t rows, int64_t width, float* dx,
                           const int stream) {
  for (int64_t r = 0; r < rows; ++r, x += width, dy += width, dx += width) {
    int64_t c = 0;
    for (; c + HAI_LANES <= width; c += HAI_LANES) apply(x + c, dy + c, p, c, dx + c, stream, 0);
    if (c < width) apply(x + c, dy + c, p, c, dx + c, stream, (int)(width - c));
  }
}

/* `stream`: past the caches, dx and its rows aligned. */
void HAI_KERNEL(hai_batch_norm_gradient_apply_f32)(const float* x, const float* dy, const float* factor,
                                                   const float* offset, const float* slope, const float* shift,
                                                   int64_t rows, int64_t width, float low, float high, float* dx,
                                                   int32_t stream);
void HAI_KERNEL(hai_batch_norm_gradient_apply_f32)(const float* x, const float* dy, const float* factor,
                                                   const float* offset, const float* slope, const float* shift,
                                                   int64_t rows, int64_t width, float low, float high, float* dx,
                                                   int32_t stream) {
  const parameters p = {factor, offset, slope, shift, v_set(low), v_set(high)};
  if (stream) {
    apply_rows(x, dy, &p, rows, width, dx, 1);
    v_stream_end();
  } else {
    apply_rows(x, dy, &p, rows, width, dx, 0);
  }
}

/* The two sweeps of batch_norm_train_gradient over [rows][width] numbers, one set of parameters a column.
 *
 * g is dy where v = (x - mean) factor + bias, what the activation was given, lies between low and high; without an
 * activation these are infinite. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/train/kernels/batch_norm_columns.h"
#include "devices/cpu/train/kernels/stream.h"

HAI_INLINE vec load(const float* p, const int tail) { return tail == 0 ? v_load(p) : v_load_n(p, tail); }

HAI_INLINE void store(float* p, vec x, const int tail) {
  if (tail == 0) {
    v_store(p, x);
  } else {
    v_store_n(p, x, tail);
  }
}

/* x - mean, and g. `tail` 0: a whole vector, else so many elements. */
typedef struct {
  vec moved, g;
} masked;

HAI_INLINE masked mask(const float* x, const float* dy, const hai_batch_norm_columns* p, int64_t c, vec factor,
                       const int tail) {
  masked out;
  out.moved = v_sub(load(x + c, tail), load(p->mean + c, tail));
  const vec v = v_fma(out.moved, factor, load(p->bias + c, tail));
  out.g = v_between(load(dy + c, tail), v, v_set(p->low), v_set(p->high));
  return out;
}

HAI_INLINE void add_columns(const float* x, const float* dy, const hai_batch_norm_columns* p, int64_t c, float* sum,
                            float* product, const int tail) {
  const masked m = mask(x, dy, p, c, load(p->factor + c, tail), tail);
  store(sum + c, v_add(load(sum + c, tail), m.g), tail);
  store(product + c, v_fma(m.g, m.moved, load(product + c, tail)), tail);
}

/* sum[c] = sum of g, product[c] = sum of g (x - mean[c]) */
void HAI_KERNEL(hai_batch_norm_gradient_sums_f32)(const float* x, const float* dy, const hai_batch_norm_columns* p,
                                                  int64_t rows, float* sum, float* product);
void HAI_KERNEL(hai_batch_norm_gradient_sums_f32)(const float* x, const float* dy, const hai_batch_norm_columns* given,
                                                  int64_t rows, float* sum, float* product) {
  const hai_batch_norm_columns p = *given; /* stores cannot change it */
  for (int64_t c = 0; c < p.width; ++c) sum[c] = product[c] = 0.0F;
  for (int64_t r = 0; r < rows; ++r, x += p.width, dy += p.width) {
    int64_t c = 0;
    for (; c + HAI_LANES <= p.width; c += HAI_LANES) add_columns(x, dy, &p, c, sum, product, 0);
    if (c < p.width) add_columns(x, dy, &p, c, sum, product, (int)(p.width - c));
  }
}

/* dx = g factor + ((x - mean) slope + shift) */
HAI_INLINE void apply(const float* x, const float* dy, const hai_batch_norm_columns* p, int64_t c, float* dx,
                      const int stream, const int tail) {
  const vec factor = load(p->factor + c, tail);
  const masked m = mask(x, dy, p, c, factor, tail);
  const vec y = v_fma(m.g, factor, v_fma(m.moved, load(p->slope + c, tail), load(p->shift + c, tail)));
  if (tail == 0 && stream) {
    v_stream(dx + c, y);
  } else {
    store(dx + c, y, tail);
  }
}

HAI_INLINE void apply_rows(const float* x, const float* dy, const hai_batch_norm_columns* p, int64_t rows, float* dx,
                           const int stream) {
  for (int64_t r = 0; r < rows; ++r, x += p->width, dy += p->width, dx += p->width) {
    int64_t c = 0;
    for (; c + HAI_LANES <= p->width; c += HAI_LANES) apply(x, dy, p, c, dx, stream, 0);
    if (c < p->width) apply(x, dy, p, c, dx, stream, (int)(p->width - c));
  }
}

/* `stream`: past the caches, dx and its rows aligned. */
void HAI_KERNEL(hai_batch_norm_gradient_apply_f32)(const float* x, const float* dy, const hai_batch_norm_columns* p,
                                                   int64_t rows, float* dx, int32_t stream);
void HAI_KERNEL(hai_batch_norm_gradient_apply_f32)(const float* x, const float* dy, const hai_batch_norm_columns* given,
                                                   int64_t rows, float* dx, int32_t stream) {
  const hai_batch_norm_columns p = *given; /* stores cannot change it */
  if (stream) {
    apply_rows(x, dy, &p, rows, dx, 1);
    v_stream_end();
  } else {
    apply_rows(x, dy, &p, rows, dx, 0);
  }
}

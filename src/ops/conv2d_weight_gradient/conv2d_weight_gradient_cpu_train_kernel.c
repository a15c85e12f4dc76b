/* depthwise_weight_gradient_f32: sums[t, c] += sum over the pixels of one row of dy[pixel, c] x[tap t of pixel, c].
 *
 * A block of channels walks along the row with the sums of all nine taps of a 3x3 window in registers, past the borders
 * too; other windows go tap by tap. */
#include "ops/conv2d_weight_gradient/conv2d_weight_gradient_cpu_train_kernel.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

HAI_INLINE vec load(const float* from, const int tail) { return tail == 0 ? v_load(from) : v_load_n(from, tail); }

HAI_INLINE void store(float* to, vec x, const int tail) {
  if (tail == 0) {
    v_store(to, x);
  } else {
    v_store_n(to, x, tail);
  }
}

/* Pixels [begin, end) of one tap, whose column is inside the image there. */
HAI_INLINE void one_tap(const hai_depthwise_gradient* d, int64_t row, int64_t col, int64_t begin, int64_t end,
                        int64_t c, const int tail) {
  if (begin >= end) return;
  const int64_t step = d->stride_cols * d->channels;
  const float* x = d->rows[row] + ((begin * d->stride_cols - d->pad_left) + col * d->dilation_cols) * d->channels + c;
  const float* dy = d->dy + begin * d->channels + c;
  float* to = d->sums + (row * d->kernel_cols + col) * d->channels + c;
  vec sum = load(to, tail);
  for (int64_t i = begin; i < end; ++i, x += step, dy += d->channels) sum = v_fma(load(x, tail), load(dy, tail), sum);
  store(to, sum, tail);
}

/* Pixels whose column of tap `col` lies inside the image: [begin, end). */
HAI_INLINE void inside(const hai_depthwise_gradient* d, int64_t col, int64_t* begin, int64_t* end) {
  const int64_t offset = d->pad_left - col * d->dilation_cols; /* first pixel: i * stride >= offset */
  const int64_t last = d->image_cols - 1 + offset;             /* last: i * stride <= last */
  int64_t first = offset > 0 ? (offset + d->stride_cols - 1) / d->stride_cols : 0;
  int64_t after = last < 0 ? 0 : last / d->stride_cols + 1;
  if (after > d->out_cols) after = d->out_cols;
  if (first > after) first = after;
  *begin = first;
  *end = after;
}

typedef struct {
  vec at[9];
} nine_sums;

/* A pixel whose window crosses the left or right border. */
HAI_INLINE nine_sums add_border(const hai_depthwise_gradient* d, int64_t pixel, int64_t c, nine_sums sum,
                                const int tail) {
  const vec g = load(d->dy + pixel * d->channels + c, tail);
  HAI_UNROLL
  for (int k = 0; k < 3; ++k) {
    const int64_t col = pixel * d->stride_cols - d->pad_left + k * d->dilation_cols;
    if (col < 0 || col >= d->image_cols) continue;
    HAI_UNROLL
    for (int r = 0; r < 3; ++r) {
      sum.at[3 * r + k] = v_fma(load(d->rows[r] + col * d->channels + c, tail), g, sum.at[3 * r + k]);
    }
  }
  return sum;
}

/* All taps of a 3x3 window over the row; windows of pixels [begin, end) lie inside the image. */
HAI_INLINE void nine_taps(const hai_depthwise_gradient* d, int64_t begin, int64_t end, int64_t c, const int tail) {
  nine_sums sum;
  HAI_UNROLL
  for (int t = 0; t < 9; ++t) sum.at[t] = load(d->sums + t * d->channels + c, tail);
  for (int64_t i = 0; i < begin; ++i) sum = add_border(d, i, c, sum, tail);
  const int64_t step = d->stride_cols * d->channels;
  const int64_t tap = d->dilation_cols * d->channels;
  const int64_t at = (begin * d->stride_cols - d->pad_left) * d->channels + c;
  const float* x0 = d->rows[0] + at;
  const float* x1 = d->rows[1] + at;
  const float* x2 = d->rows[2] + at;
  const float* dy = d->dy + begin * d->channels + c;
  for (int64_t i = begin; i < end; ++i, x0 += step, x1 += step, x2 += step, dy += d->channels) {
    const vec g = load(dy, tail);
    HAI_UNROLL
    for (int k = 0; k < 3; ++k) {
      sum.at[k] = v_fma(load(x0 + k * tap, tail), g, sum.at[k]);
      sum.at[3 + k] = v_fma(load(x1 + k * tap, tail), g, sum.at[3 + k]);
      sum.at[6 + k] = v_fma(load(x2 + k * tap, tail), g, sum.at[6 + k]);
    }
  }
  for (int64_t i = end; i < d->out_cols; ++i) sum = add_border(d, i, c, sum, tail);
  HAI_UNROLL
  for (int t = 0; t < 9; ++t) store(d->sums + t * d->channels + c, sum.at[t], tail);
}

/* Any window, tap by tap. */
HAI_INLINE void all_taps(const hai_depthwise_gradient* d, int64_t c, const int tail) {
  for (int64_t row = 0; row < d->kernel_rows; ++row) {
    for (int64_t col = 0; col < d->kernel_cols; ++col) {
      int64_t begin = 0;
      int64_t end = 0;
      inside(d, col, &begin, &end);
      one_tap(d, row, col, begin, end, c, tail);
    }
  }
}

void HAI_KERNEL(hai_depthwise_weight_gradient_f32)(const hai_depthwise_gradient* d);
void HAI_KERNEL(hai_depthwise_weight_gradient_f32)(const hai_depthwise_gradient* given) {
  const hai_depthwise_gradient copy = *given; /* stores cannot change it */
  const hai_depthwise_gradient* d = &copy;
  const int nine = d->kernel_rows == 3 && d->kernel_cols == 3;
  int64_t begin = 0; /* pixels whose columns are all inside */
  int64_t end = 0;
  int64_t unused = 0;
  if (nine) {
    inside(d, 0, &begin, &unused);
    inside(d, 2, &unused, &end);
    if (end < begin) end = begin;
  }
  int64_t c = 0;
  for (; c + HAI_LANES <= d->channels; c += HAI_LANES) {
    if (nine) {
      nine_taps(d, begin, end, c, 0);
    } else {
      all_taps(d, c, 0);
    }
  }
  if (c == d->channels) return;
  if (nine) {
    nine_taps(d, begin, end, c, (int)(d->channels - c));
  } else {
    all_taps(d, c, (int)(d->channels - c));
  }
}

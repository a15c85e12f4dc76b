/* winograd_input_rows, winograd_output_rows, winograd_weights: see winograd_rows.h.
 *
 * A block of channels walks along a row of tiles; neighbouring windows share two columns, which are transformed once
 * and kept in registers. The order of operations is fixed, so that results do not depend on how tiles are shared out.
 */
#include "devices/cpu/train/kernels/winograd_rows.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/train/kernels/stream.h"

HAI_INLINE vec load(const float* p, const int tail) { return tail == 0 ? v_load(p) : v_load_n(p, tail); }

HAI_INLINE void store(float* p, vec x, const int tail) {
  if (tail == 0) {
    v_store(p, x);
  } else {
    v_store_n(p, x, tail);
  }
}

typedef struct {
  vec at[4];
} column;

/* B^T of one column of the image. */
HAI_INLINE column input_column(const hai_winograd_input_rows* w, int64_t col, int64_t c, const int tail) {
  column out;
  if (col < 0 || col >= w->image_cols) {
    out.at[0] = out.at[1] = out.at[2] = out.at[3] = v_zero();
    return out;
  }
  const int64_t at = col * w->pixel_stride + c;
  const vec d0 = load(w->rows[0] + at, tail);
  const vec d1 = load(w->rows[1] + at, tail);
  const vec d2 = load(w->rows[2] + at, tail);
  const vec d3 = load(w->rows[3] + at, tail);
  out.at[0] = v_sub(d0, d2);
  out.at[1] = v_add(d1, d2);
  out.at[2] = v_sub(d2, d1);
  out.at[3] = v_sub(d1, d3);
  return out;
}

HAI_INLINE void input_block(const hai_winograd_input_rows* w, int64_t c, const int tail) {
  const int64_t tap = w->tap_stride;
  column a = input_column(w, w->first_col, c, tail);
  column b = input_column(w, w->first_col + 1, c, tail);
  float* out = w->out + c;
  for (int64_t tile = 0; tile < w->tiles; ++tile, out += w->tile_stride) {
    const column d = input_column(w, w->first_col + 2 * tile + 2, c, tail);
    const column e = input_column(w, w->first_col + 2 * tile + 3, c, tail);
    HAI_UNROLL
    for (int i = 0; i < 4; ++i) {
      store(out + (4 * i + 0) * tap, v_sub(a.at[i], d.at[i]), tail);
      store(out + (4 * i + 1) * tap, v_add(b.at[i], d.at[i]), tail);
      store(out + (4 * i + 2) * tap, v_sub(d.at[i], b.at[i]), tail);
      store(out + (4 * i + 3) * tap, v_sub(b.at[i], e.at[i]), tail);
    }
    a = d;
    b = e;
  }
}

void HAI_KERNEL(hai_winograd_input_rows)(const hai_winograd_input_rows* w);
void HAI_KERNEL(hai_winograd_input_rows)(const hai_winograd_input_rows* given) {
  const hai_winograd_input_rows copy = *given; /* stores cannot change it */
  int64_t c = 0;
  for (; c + HAI_LANES <= copy.channels; c += HAI_LANES) input_block(&copy, c, 0);
  if (c < copy.channels) input_block(&copy, c, (int)(copy.channels - c));
}

HAI_INLINE void output_block(const hai_winograd_output_rows* w, int c, const int tail) {
  const int64_t tap = w->tap_stride;
  const vec bias = load(w->bias + c, tail);
  const vec lo = v_set(w->lo);
  const vec hi = v_set(w->hi);
  const float* m = w->sums + c;
  float* out = w->out + c;
  for (int64_t tile = 0; tile < w->tiles; ++tile, m += w->tile_stride, out += 2 * w->pixel_stride) {
    vec top[4];
    vec low[4];
    HAI_UNROLL
    for (int j = 0; j < 4; ++j) {
      const vec m0 = load(m + j * tap, tail);
      const vec m1 = load(m + (4 + j) * tap, tail);
      const vec m2 = load(m + (8 + j) * tap, tail);
      const vec m3 = load(m + (12 + j) * tap, tail);
      top[j] = v_add(v_add(m0, m1), m2);
      low[j] = v_sub(v_sub(m1, m2), m3);
    }
    const int two = 2 * tile + 1 < w->out_cols;
    const vec y00 = v_add(v_add(v_add(top[0], top[1]), top[2]), bias);
    const vec y01 = v_add(v_sub(v_sub(top[1], top[2]), top[3]), bias);
    store(out, v_min(hi, v_max(lo, y00)), tail);
    if (two) store(out + w->pixel_stride, v_min(hi, v_max(lo, y01)), tail);
    if (w->rows < 2) continue;
    const vec y10 = v_add(v_add(v_add(low[0], low[1]), low[2]), bias);
    const vec y11 = v_add(v_sub(v_sub(low[1], low[2]), low[3]), bias);
    store(out + w->row_stride, v_min(hi, v_max(lo, y10)), tail);
    if (two) store(out + w->row_stride + w->pixel_stride, v_min(hi, v_max(lo, y11)), tail);
  }
}

void HAI_KERNEL(hai_winograd_output_rows)(const hai_winograd_output_rows* w);
void HAI_KERNEL(hai_winograd_output_rows)(const hai_winograd_output_rows* given) {
  const hai_winograd_output_rows copy = *given; /* stores cannot change it */
  int c = 0;
  for (; c + HAI_LANES <= copy.cols; c += HAI_LANES) output_block(&copy, c, 0);
  if (c < copy.cols) output_block(&copy, c, copy.cols - c);
}

/* G of three numbers: the halves are exact. */
HAI_INLINE column weight_column(vec w0, vec w1, vec w2) {
  const vec half = v_set(0.5F);
  const vec sum = v_add(w0, w2);
  column out;
  out.at[0] = w0;
  out.at[1] = v_mul(v_add(sum, w1), half);
  out.at[2] = v_mul(v_sub(sum, w1), half);
  out.at[3] = w2;
  return out;
}

void HAI_KERNEL(hai_winograd_weights)(const hai_winograd_weights* w);
void HAI_KERNEL(hai_winograd_weights)(const hai_winograd_weights* given) {
  const hai_winograd_weights w = *given;
  for (int64_t i = 0; i + HAI_LANES <= w.count; i += HAI_LANES) {
    column columns[3];
    HAI_UNROLL
    for (int k = 0; k < 3; ++k) {
      const float* tap = w.taps + k * w.count + i;
      columns[k] = weight_column(v_load(tap), v_load(tap + 3 * w.count), v_load(tap + 6 * w.count));
    }
    HAI_UNROLL
    for (int r = 0; r < 4; ++r) {
      const column row = weight_column(columns[0].at[r], columns[1].at[r], columns[2].at[r]);
      HAI_UNROLL
      for (int k = 0; k < 4; ++k) v_store(w.out + (4 * r + k) * w.tap_stride + i, row.at[k]);
    }
  }
}

HAI_INLINE vec load_pixel(const float* row, int64_t col, int64_t stride, int inside, const int tail) {
  return inside ? load(row + col * stride, tail) : v_zero();
}

HAI_INLINE void gradient_block(const hai_winograd_gradient_rows* w, int64_t c, const int tail) {
  const vec half = v_set(0.5F);
  const int64_t tap = w->tap_stride;
  float* out = w->out + c;
  for (int64_t tile = 0; tile < w->tiles; ++tile, out += w->tile_stride) {
    const int two = 2 * tile + 1 < w->out_cols;
    column columns[2];
    HAI_UNROLL
    for (int k = 0; k < 2; ++k) {
      const vec g0 = load_pixel(w->rows[0] + c, 2 * tile + k, w->pixel_stride, k == 0 || two, tail);
      const vec g1 = load_pixel(w->rows[1] + c, 2 * tile + k, w->pixel_stride, k == 0 || two, tail);
      columns[k].at[0] = g0;
      columns[k].at[1] = v_mul(v_add(g0, g1), half);
      columns[k].at[2] = v_mul(v_sub(g0, g1), half);
      columns[k].at[3] = g1;
    }
    HAI_UNROLL
    for (int r = 0; r < 4; ++r) {
      const vec a = columns[0].at[r];
      const vec b = columns[1].at[r];
      store(out + (4 * r + 0) * tap, a, tail);
      store(out + (4 * r + 1) * tap, v_mul(v_add(a, b), half), tail);
      store(out + (4 * r + 2) * tap, v_mul(v_sub(a, b), half), tail);
      store(out + (4 * r + 3) * tap, b, tail);
    }
  }
}

void HAI_KERNEL(hai_winograd_gradient_rows)(const hai_winograd_gradient_rows* w);
void HAI_KERNEL(hai_winograd_gradient_rows)(const hai_winograd_gradient_rows* given) {
  const hai_winograd_gradient_rows copy = *given; /* stores cannot change it */
  int64_t c = 0;
  for (; c + HAI_LANES <= copy.channels; c += HAI_LANES) gradient_block(&copy, c, 0);
  if (c < copy.channels) gradient_block(&copy, c, (int)(copy.channels - c));
}

HAI_INLINE void weight_sums_block(const hai_winograd_weight_sums* w, const float* sums, float* out, const int tail) {
  vec rows[3][4];
  HAI_UNROLL
  for (int k = 0; k < 4; ++k) {
    const vec m0 = load(sums + k * w->sum_tap_stride, tail);
    const vec m1 = load(sums + (4 + k) * w->sum_tap_stride, tail);
    const vec m2 = load(sums + (8 + k) * w->sum_tap_stride, tail);
    const vec m3 = load(sums + (12 + k) * w->sum_tap_stride, tail);
    rows[0][k] = v_add(m0, v_add(m1, m2));
    rows[1][k] = v_sub(m1, m2);
    rows[2][k] = v_sub(v_add(m1, m2), m3);
  }
  HAI_UNROLL
  for (int r = 0; r < 3; ++r) {
    const vec sum = v_add(rows[r][1], rows[r][2]);
    store(out + (3 * r + 0) * w->tap_stride, v_add(rows[r][0], sum), tail);
    store(out + (3 * r + 1) * w->tap_stride, v_sub(rows[r][1], rows[r][2]), tail);
    store(out + (3 * r + 2) * w->tap_stride, v_sub(sum, rows[r][3]), tail);
  }
}

void HAI_KERNEL(hai_winograd_weight_sums)(const hai_winograd_weight_sums* w);
void HAI_KERNEL(hai_winograd_weight_sums)(const hai_winograd_weight_sums* given) {
  const hai_winograd_weight_sums w = *given;
  for (int64_t i = 0; i < w.rows; ++i) {
    const float* sums = w.sums + i * w.sum_row_stride;
    float* out = w.out + i * w.row_stride;
    int64_t c = 0;
    for (; c + HAI_LANES <= w.cols; c += HAI_LANES) weight_sums_block(&w, sums + c, out + c, 0);
    if (c < w.cols) weight_sums_block(&w, sums + c, out + c, (int)(w.cols - c));
  }
}

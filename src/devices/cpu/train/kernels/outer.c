/* outer_f32: sums of outer products, for the gradients of weights. The contract is in outer.h.
 *
 * The sums of a tile stay in registers; a step loads two vectors of b and broadcasts one element of a for each row. */
#include "devices/cpu/train/kernels/outer.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/gemm_rows.h"
#include "devices/cpu/exec/kernels/gemm_tile.h"
#include "devices/cpu/exec/kernels/vector.h"

/* `tail`: elements of the last vector of b, 0 for all. */
HAI_INLINE void sum_tile(const hai_outer_f32* tile, const int rows, const int vectors, const int tail) {
  vec sum[MR][NV];
  HAI_UNROLL
  for (int m = 0; m < rows; ++m) {
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) sum[m][v] = v_zero();
  }
  const float* a = tile->a;
  const float* b = tile->b;
  const int64_t a_stride = tile->a_stride;
  const int64_t b_stride = tile->b_stride;
  /* Without a next block the first line is fetched again and again. */
  const char* next_a = (const char*)(tile->next_a ? tile->next_a : a);
  const char* next_b = (const char*)(tile->next_b ? tile->next_b : b);
  const int64_t step_a = tile->next_a ? 64 : 0;
  const int64_t step_b = tile->next_b ? 64 : 0;
  for (int64_t r = tile->count; r > 0; --r, a += a_stride, b += b_stride) {
    __builtin_prefetch(next_a);
    __builtin_prefetch(next_b);
    next_a += step_a;
    next_b += step_b;
    vec g[NV];
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) {
      g[v] = tail != 0 && v == vectors - 1 ? v_load_n(b + v * HAI_LANES, tail) : v_load(b + v * HAI_LANES);
    }
    HAI_UNROLL
    for (int m = 0; m < rows; ++m) {
      const vec x = v_set(a[m]);
      HAI_UNROLL
      for (int v = 0; v < vectors; ++v) sum[m][v] = v_fma(x, g[v], sum[m][v]);
    }
  }
  float* out = tile->out;
  HAI_UNROLL
  for (int m = 0; m < rows; ++m, out += tile->out_stride) {
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) {
      float* to = out + v * HAI_LANES;
      const int left = tile->cols - v * HAI_LANES;
      if (left >= HAI_LANES) {
        v_store(to, tile->accumulate ? v_add(v_load(to), sum[m][v]) : sum[m][v]);
      } else if (left > 0) {
        v_store_n(to, tile->accumulate ? v_add(v_load_n(to, left), sum[m][v]) : sum[m][v], left);
      }
    }
  }
}

HAI_INLINE void run_rows(const hai_outer_f32* tile, const int rows, const int vectors) {
  const int tail = tile->padded ? 0 : tile->cols % HAI_LANES;
  if (tail == 0) {
    sum_tile(tile, rows, vectors, 0);
  } else {
    sum_tile(tile, rows, vectors, tail);
  }
}

void HAI_KERNEL(hai_outer_f32)(const hai_outer_f32* tile);
void HAI_KERNEL(hai_outer_f32)(const hai_outer_f32* tile) {
#if NV == 2
  if (tile->cols <= HAI_LANES) {
    switch (tile->rows) { HAI_FOR_EACH_ROW_COUNT(run_rows, tile, 1) }
    return;
  }
  switch (tile->rows) { HAI_FOR_EACH_ROW_COUNT(run_rows, tile, 2) }
#else /* scalar: a vector is one column */
  if (tile->cols == NV) {
    switch (tile->rows) { HAI_FOR_EACH_ROW_COUNT(run_rows, tile, NV) }
    return;
  }
  hai_outer_f32 column = *tile;
  column.cols = 1;
  for (int j = 0; j < tile->cols; ++j, ++column.b, ++column.out) {
    switch (tile->rows) { HAI_FOR_EACH_ROW_COUNT(run_rows, &column, 1) }
  }
#endif
}

/* hai_weight_gradient_f32: dw[i, j] = sum over rows r of x[r, i] dy[r, j], for up to 4 columns i of x and any number of
 * columns j of dy.
 *
 * A tile of 4 x (2 vectors) stays in registers over all rows: 8 sums, 2 loads and 4 broadcasts a row. Sums run in the
 * order of the rows whatever the tile, so the bits do not depend on threads; they do on the instruction set (fused or
 * not). */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

#define HAI_COLUMNS 4

/* `tail`: how many elements of the last vector count, 0 for all. */
HAI_INLINE void tile(const float* x, int64_t x_stride, int32_t columns, const float* dy, int64_t dy_stride,
                     int64_t rows, float* dw, int64_t dw_stride, const int vectors, const int tail) {
  vec sums[HAI_COLUMNS][2];
  HAI_UNROLL
  for (int i = 0; i < HAI_COLUMNS; ++i) sums[i][0] = sums[i][1] = v_zero();
  int64_t at[HAI_COLUMNS];
  HAI_UNROLL
  for (int i = 0; i < HAI_COLUMNS; ++i) at[i] = i < columns ? i : 0; /* columns that are not there repeat the first */
  for (int64_t r = 0; r < rows; ++r) {
    vec g[2];
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const float* from = dy + r * dy_stride + v * HAI_LANES;
      g[v] = tail != 0 && v == vectors - 1 ? v_load_n(from, tail) : v_load(from);
    }
    HAI_UNROLL
    for (int i = 0; i < HAI_COLUMNS; ++i) {
      const vec a = v_set(x[r * x_stride + at[i]]);
      HAI_UNROLL
      for (int v = 0; v < vectors; ++v) sums[i][v] = v_fma(a, g[v], sums[i][v]);
    }
  }
  for (int32_t i = 0; i < columns; ++i) {
    for (int v = 0; v < vectors; ++v) {
      float* to = dw + i * dw_stride + v * HAI_LANES;
      if (tail != 0 && v == vectors - 1) {
        v_store_n(to, sums[i][v], tail);
      } else {
        v_store(to, sums[i][v]);
      }
    }
  }
}

void HAI_KERNEL(hai_weight_gradient_f32)(const float* x, int64_t x_stride, int32_t columns, const float* dy,
                                         int64_t dy_stride, int64_t dy_columns, int64_t rows, float* dw,
                                         int64_t dw_stride);
void HAI_KERNEL(hai_weight_gradient_f32)(const float* x, int64_t x_stride, int32_t columns, const float* dy,
                                         int64_t dy_stride, int64_t dy_columns, int64_t rows, float* dw,
                                         int64_t dw_stride) {
  int64_t j = 0;
  for (; j + 2 * HAI_LANES <= dy_columns; j += 2 * HAI_LANES)
    tile(x, x_stride, columns, dy + j, dy_stride, rows, dw + j, dw_stride, 2, 0);
  if (j + HAI_LANES <= dy_columns) {
    tile(x, x_stride, columns, dy + j, dy_stride, rows, dw + j, dw_stride, 1, 0);
    j += HAI_LANES;
  }
  const int left = (int)(dy_columns - j);
  if (left > 0) tile(x, x_stride, columns, dy + j, dy_stride, rows, dw + j, dw_stride, 1, left);
}

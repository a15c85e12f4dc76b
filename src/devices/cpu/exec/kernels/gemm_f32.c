/* gemm_f32: f32 tiles of 14x32 (AVX-512), 6x16 (AVX2), 8x8 (NEON), 4x8 (scalar). The contract is in gemm.h.
 *
 * Sums stay in registers; a step loads the panel's vectors once and broadcasts one element a row. Fewer rows than mr
 * get their own unrolled loop, so that no row outside the operand is read; so do tiles of at most one vector of
 * columns.
 */
#include "devices/cpu/exec/kernels/gemm.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/gemm_rows.h"
#include "devices/cpu/exec/kernels/gemm_tile.h"
#include "devices/cpu/exec/kernels/vector.h"

HAI_INLINE void run_rows(const hai_gemm_f32_tile* tile, const int rows, const int vectors) {
  vec sum[MR][NV];
  if (tile->accumulate) {
    HAI_UNROLL
    for (int m = 0; m < rows; ++m) {
      HAI_UNROLL
      for (int v = 0; v < vectors; ++v) sum[m][v] = v_load(tile->out + m * tile->out_stride + v * HAI_LANES);
    }
  } else {
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const vec bias = v_load(tile->bias + v * HAI_LANES);
      HAI_UNROLL
      for (int m = 0; m < rows; ++m) sum[m][v] = bias;
    }
  }

  const float* panel = (const float*)tile->in.panel;
  for (int64_t s = 0; s < tile->in.segment_count; ++s) {
    row_pointers rows_at = first_rows((const char*)tile->in.segments[s], tile->in.row_stride_bytes, rows);
    for (int64_t k = tile->in.segment_steps; k > 0; --k) {
      vec b[NV];
      HAI_UNROLL
      for (int v = 0; v < vectors; ++v) b[v] = v_load(panel + v * HAI_LANES);
      HAI_UNROLL
      for (int m = 0; m < rows; ++m) {
        const vec a = v_set(*(const float*)(const void*)row_at(&rows_at, m));
        HAI_UNROLL
        for (int v = 0; v < vectors; ++v) sum[m][v] = v_fma(a, b[v], sum[m][v]);
      }
      panel += NR;
      advance_rows(&rows_at, 4, rows);
    }
  }

  const vec lo = v_set(tile->lo);
  const vec hi = v_set(tile->hi);
  const int cols = tile->in.cols;
  const int64_t out_stride = tile->out_stride;
  float* out = tile->out;
  HAI_UNROLL
  for (int m = 0; m < rows; ++m, out += out_stride) {
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const vec y = v_min(hi, v_max(lo, sum[m][v]));
      const int left = cols - v * HAI_LANES;
      if (left >= HAI_LANES) {
        v_store(out + v * HAI_LANES, y);
      } else if (left > 0) {
        v_store_n(out + v * HAI_LANES, y, left);
      }
    }
  }
}

static void HAI_KERNEL(gemm_f32_tile)(const hai_gemm_f32_tile* tile) {
#if NV == 2
  if (tile->in.cols <= HAI_LANES) {
    switch (tile->in.rows) { HAI_FOR_EACH_ROW_COUNT(run_rows, tile, 1) }
    return;
  }
#endif
  switch (tile->in.rows) { HAI_FOR_EACH_ROW_COUNT(run_rows, tile, NV) }
}

const hai_gemm_kernel* HAI_KERNEL(gemm_f32)(void);
const hai_gemm_kernel* HAI_KERNEL(gemm_f32)(void) {
  static const hai_gemm_kernel kernel = {
      "gemm_f32__" TEXT(HAI_ISA) TILE_NAME, MR, NR, 1, HAI_GEMM_LEFT_S8, HAI_KERNEL(gemm_f32_tile), 0, 0};
  return &kernel;
}

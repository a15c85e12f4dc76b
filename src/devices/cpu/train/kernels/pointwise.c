/* pointwise_f32: see pointwise.h. The tile, its registers and the order of its sums are those of gemm_f32.c.
 *
 * hai_stream_copy_f32: to[i] = from[i] with stores past the caches, for blocks of a result that is larger than the last
 * cache: written directly, each line would be read from memory first. */
#include "devices/cpu/train/kernels/pointwise.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/gemm_rows.h"
#include "devices/cpu/exec/kernels/gemm_tile.h"
#include "devices/cpu/train/kernels/stream.h"

typedef struct {
  const float* x;
  float* out;
} place;

HAI_INLINE void run_rows(const hai_pointwise* p, const place* at, const int rows, const int vectors) {
  vec sum[MR][NV];
  HAI_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const vec bias = v_load(p->bias + v * HAI_LANES);
    HAI_UNROLL
    for (int m = 0; m < rows; ++m) sum[m][v] = bias;
  }
  const float* panel = p->panel;
  row_pointers rows_at = first_rows((const char*)at->x, p->depth * 4, rows);
  const char* next = (const char*)(at->x + rows * p->depth);
  for (int64_t k = p->depth; k > 0; --k) {
    __builtin_prefetch(next);
    next += 64;
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
  const vec lo = v_set(p->lo);
  const vec hi = v_set(p->hi);
  float* out = at->out;
  HAI_UNROLL
  for (int m = 0; m < rows; ++m, out += p->out_stride) {
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const vec y = v_min(hi, v_max(lo, sum[m][v]));
      const int left = p->cols - v * HAI_LANES;
      if (left >= HAI_LANES) {
        v_store(out + v * HAI_LANES, y);
      } else if (left > 0) {
        v_store_n(out + v * HAI_LANES, y, left);
      }
    }
  }
}

HAI_INLINE void run_tile(const hai_pointwise* p, const place* at, int rows) {
#define HAI_POINTWISE_ROWS(p, count, vectors) run_rows(p, at, count, vectors)
#if NV == 2
  if (p->cols <= HAI_LANES) {
    switch (rows) { HAI_FOR_EACH_ROW_COUNT(HAI_POINTWISE_ROWS, p, 1) }
    return;
  }
#endif
  switch (rows) { HAI_FOR_EACH_ROW_COUNT(HAI_POINTWISE_ROWS, p, NV) }
}

void HAI_KERNEL(hai_pointwise_f32)(const hai_pointwise* p);
void HAI_KERNEL(hai_pointwise_f32)(const hai_pointwise* given) {
  const hai_pointwise p = *given; /* stores cannot change it */
  const int64_t tiles = (p.pixels + MR - 1) / MR;
  const int64_t share = (p.pixels + tiles - 1) / tiles; /* even: short tiles hide less latency */
  for (int64_t first = 0; first < p.pixels; first += share) {
    const int64_t left = p.pixels - first;
    const place at = {p.x + first * p.depth, p.out + first * p.out_stride};
    run_tile(&p, &at, (int)(left < share ? left : share));
  }
}

/* `to` is aligned to HAI_STREAM_ALIGNMENT, count a multiple of as many bytes. */
void HAI_KERNEL(hai_stream_copy_f32)(const float* from, float* to, int64_t count);
void HAI_KERNEL(hai_stream_copy_f32)(const float* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; i += HAI_LANES) v_stream(to + i, v_load(from + i));
  v_stream_end();
}

/* Row addresses of a tile with few registers, and the switch over row counts. For gemm_*.c.
 *
 * One pointer serves three rows (base, base + stride, base + 2 * stride are x86 addressing modes), so that 14 rows need
 * five pointers. Compilers would otherwise keep one pointer a row, run out of registers and reload them at each step;
 * the empty asm keeps them from it.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_ROWS_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_ROWS_H_

#include "devices/cpu/exec/kernels/gemm_tile.h"

#define ROW_GROUPS ((MR + 2) / 3)

typedef struct {
  const char* base[ROW_GROUPS];
  int64_t stride;
} row_pointers;

HAI_INLINE row_pointers first_rows(const char* row0, int64_t stride, const int rows) {
  row_pointers at;
  at.stride = stride;
  HAI_UNROLL
  for (int g = 0; g < ROW_GROUPS; ++g) at.base[g] = 3 * g < rows ? row0 + 3 * g * stride : row0;
  return at;
}

HAI_INLINE const char* row_at(const row_pointers* at, const int m) { return at->base[m / 3] + (m % 3) * at->stride; }

HAI_INLINE void advance_rows(row_pointers* at, const int64_t bytes, const int rows) {
  HAI_UNROLL
  for (int g = 0; g < ROW_GROUPS; ++g) {
    if (3 * g >= rows) continue;
    at->base[g] += bytes;
    __asm__("" : "+r"(at->base[g]));
  }
}

#define HAI_ROW_CASE(run, tile, n, vectors) \
  case n:                                   \
    run(tile, n, vectors);                  \
    break;
#if MR >= 8
#define HAI_ROW_CASES_8(run, tile, vectors) \
  HAI_ROW_CASE(run, tile, 5, vectors)       \
  HAI_ROW_CASE(run, tile, 6, vectors)       \
  HAI_ROW_CASE(run, tile, 7, vectors)       \
  HAI_ROW_CASE(run, tile, 8, vectors)
#elif MR >= 6
#define HAI_ROW_CASES_8(run, tile, vectors) \
  HAI_ROW_CASE(run, tile, 5, vectors)       \
  HAI_ROW_CASE(run, tile, 6, vectors)
#else
#define HAI_ROW_CASES_8(run, tile, vectors)
#endif
#if MR >= 14
#define HAI_ROW_CASES_14(run, tile, vectors) \
  HAI_ROW_CASE(run, tile, 9, vectors)        \
  HAI_ROW_CASE(run, tile, 10, vectors)       \
  HAI_ROW_CASE(run, tile, 11, vectors)       \
  HAI_ROW_CASE(run, tile, 12, vectors)       \
  HAI_ROW_CASE(run, tile, 13, vectors)       \
  HAI_ROW_CASE(run, tile, 14, vectors)
#else
#define HAI_ROW_CASES_14(run, tile, vectors)
#endif
#define HAI_FOR_EACH_ROW_COUNT(run, tile, vectors) \
  HAI_ROW_CASE(run, tile, 1, vectors)              \
  HAI_ROW_CASE(run, tile, 2, vectors)              \
  HAI_ROW_CASE(run, tile, 3, vectors)              \
  HAI_ROW_CASE(run, tile, 4, vectors)              \
  HAI_ROW_CASES_8(run, tile, vectors)              \
  HAI_ROW_CASES_14(run, tile, vectors)             \
  default:                                         \
    break;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_ROWS_H_ */

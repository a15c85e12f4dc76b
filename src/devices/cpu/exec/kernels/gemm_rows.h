/* Row addresses of a tile with few registers, and the switch over row counts. For gemm_*.c, after MR is defined.
 *
 * One pointer serves three rows (base, base + stride, base + 2 * stride are x86 addressing modes), so that 14 rows need
 * five pointers. Compilers would otherwise keep one pointer a row, run out of registers and reload them at each step;
 * the empty asm keeps them from it.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_ROWS_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_ROWS_H_

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

#define HAI_ROW_CASE(run, tile, n) \
  case n:                          \
    run(tile, n);                  \
    break;
#if MR >= 8
#define HAI_ROW_CASES_8(run, tile) \
  HAI_ROW_CASE(run, tile, 5)       \
  HAI_ROW_CASE(run, tile, 6)       \
  HAI_ROW_CASE(run, tile, 7)       \
  HAI_ROW_CASE(run, tile, 8)
#elif MR >= 6
#define HAI_ROW_CASES_8(run, tile) \
  HAI_ROW_CASE(run, tile, 5)       \
  HAI_ROW_CASE(run, tile, 6)
#else
#define HAI_ROW_CASES_8(run, tile)
#endif
#if MR >= 14
#define HAI_ROW_CASES_14(run, tile) \
  HAI_ROW_CASE(run, tile, 9)        \
  HAI_ROW_CASE(run, tile, 10)       \
  HAI_ROW_CASE(run, tile, 11)       \
  HAI_ROW_CASE(run, tile, 12)       \
  HAI_ROW_CASE(run, tile, 13)       \
  HAI_ROW_CASE(run, tile, 14)
#else
#define HAI_ROW_CASES_14(run, tile)
#endif
#define HAI_FOR_EACH_ROW_COUNT(run, tile) \
  HAI_ROW_CASE(run, tile, 1)              \
  HAI_ROW_CASE(run, tile, 2)              \
  HAI_ROW_CASE(run, tile, 3)              \
  HAI_ROW_CASE(run, tile, 4)              \
  HAI_ROW_CASES_8(run, tile)              \
  HAI_ROW_CASES_14(run, tile)             \
  default:                                \
    break;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_ROWS_H_ */

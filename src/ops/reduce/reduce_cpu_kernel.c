/* Sums and extremes of the rows or the columns of a matrix.
 *
 * Rows (reduce_row_*): `count` neighbours become one number. f32 sums run in 16 lanes, 64 steps a block, blocks added
 * to lane totals, totals combined as a tree: a fixed order, the same on every instruction set and for any number of
 * threads, with an error that grows like count / 1024. Columns (reduce_columns_*): `rows` rows become one row; f32
 * again in blocks of 64 rows. The caller takes at most HAI_REDUCE_COLUMNS columns at once. Integer sums are exact, 8
 * bits in i32 and 16 bits in i64: the caller proves their range. Extremes: `a > b ? a : b`, which passes over NaN in a.
 */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"

#define HAI_REDUCE_COLUMNS 256
#define LANES 16
#define EXTREME_LANES 64
#define BLOCK 64

#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define SMALLER(a, b) ((a) < (b) ? (a) : (b))

float HAI_KERNEL(reduce_row_sum_f32)(const float* x, int64_t count) {
  float total[LANES];
  for (int i = 0; i < LANES; ++i) total[i] = 0.0F;
  int64_t at = 0;
  while (count - at >= LANES) {
    float lane[LANES];
    for (int i = 0; i < LANES; ++i) lane[i] = 0.0F;
    const int64_t left = (count - at) / LANES;
    const int64_t steps = left < BLOCK ? left : BLOCK;
    for (int64_t s = 0; s < steps; ++s, at += LANES) {
      for (int i = 0; i < LANES; ++i) lane[i] += x[at + i];
    }
    for (int i = 0; i < LANES; ++i) total[i] += lane[i];
  }
  for (int i = 0; at + i < count; ++i) total[i] += x[at + i];
  for (int width = LANES / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) total[i] += total[i + width];
  }
  return total[0];
}

void HAI_KERNEL(reduce_columns_sum_f32)(const float* x, int64_t row_stride, int64_t rows, int64_t columns,
                                        float* restrict sum) {
  float block[HAI_REDUCE_COLUMNS];
  for (int64_t c = 0; c < columns; ++c) sum[c] = 0.0F;
  for (int64_t first = 0; first < rows; first += BLOCK) {
    const int64_t end = rows - first < BLOCK ? rows : first + BLOCK;
    for (int64_t c = 0; c < columns; ++c) block[c] = x[first * row_stride + c];
    for (int64_t r = first + 1; r < end; ++r) {
      const float* row = x + r * row_stride;
      for (int64_t c = 0; c < columns; ++c) block[c] += row[c];
    }
    for (int64_t c = 0; c < columns; ++c) sum[c] += block[c];
  }
}

#define SUM(suffix, type, sum_type)                                                                              \
  sum_type HAI_KERNEL(reduce_row_sum_##suffix)(const type* x, int64_t count) {                                   \
    sum_type sum = 0;                                                                                            \
    for (int64_t i = 0; i < count; ++i) sum += x[i];                                                             \
    return sum;                                                                                                  \
  }                                                                                                              \
  void HAI_KERNEL(reduce_columns_sum_##suffix)(const type* x, int64_t row_stride, int64_t rows, int64_t columns, \
                                               sum_type* restrict sum) {                                         \
    for (int64_t c = 0; c < columns; ++c) sum[c] = 0;                                                            \
    for (int64_t r = 0; r < rows; ++r) {                                                                         \
      const type* row = x + r * row_stride;                                                                      \
      for (int64_t c = 0; c < columns; ++c) sum[c] += row[c];                                                    \
    }                                                                                                            \
  }
SUM(s8, int8_t, int32_t)
SUM(u8, uint8_t, int32_t)
SUM(s16, int16_t, int64_t)

/* More lanes than for sums: an extreme has no order to keep, and a loop over 64 is not unrolled but vectorised.
 * `best` starts as the value that loses against every other. */
#define EXTREME(name, suffix, type, BETTER)                                                                           \
  type HAI_KERNEL(reduce_row_##name##_##suffix)(const type* x, int64_t count, type start) {                           \
    type lane[EXTREME_LANES];                                                                                         \
    for (int i = 0; i < EXTREME_LANES; ++i) lane[i] = start;                                                          \
    int64_t at = 0;                                                                                                   \
    for (; count - at >= EXTREME_LANES; at += EXTREME_LANES) {                                                        \
      for (int i = 0; i < EXTREME_LANES; ++i) lane[i] = BETTER(x[at + i], lane[i]);                                   \
    }                                                                                                                 \
    for (int i = 0; at + i < count; ++i) lane[i] = BETTER(x[at + i], lane[i]);                                        \
    type best = start;                                                                                                \
    for (int i = 0; i < EXTREME_LANES; ++i) best = BETTER(lane[i], best);                                             \
    return best;                                                                                                      \
  }                                                                                                                   \
  void HAI_KERNEL(reduce_columns_##name##_##suffix)(const type* x, int64_t row_stride, int64_t rows, int64_t columns, \
                                                    type start, type* restrict best) {                                \
    for (int64_t c = 0; c < columns; ++c) best[c] = start;                                                            \
    for (int64_t r = 0; r < rows; ++r) {                                                                              \
      const type* row = x + r * row_stride;                                                                           \
      for (int64_t c = 0; c < columns; ++c) best[c] = BETTER(row[c], best[c]);                                        \
    }                                                                                                                 \
  }
EXTREME(max, f32, float, LARGER)
EXTREME(max, s8, int8_t, LARGER)
EXTREME(max, u8, uint8_t, LARGER)
EXTREME(max, s16, int16_t, LARGER)
EXTREME(min, f32, float, SMALLER)
EXTREME(min, s8, int8_t, SMALLER)
EXTREME(min, u8, uint8_t, SMALLER)
EXTREME(min, s16, int16_t, SMALLER)

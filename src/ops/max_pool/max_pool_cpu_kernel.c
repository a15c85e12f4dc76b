/* Largest of the taps of one pooling window, for every channel: y[c] = max over taps of tap[c].
 *
 * The window is a grid of rows x columns taps (those inside the picture), each the start of a pixel's channels. Four
 * taps are taken a pass, so that y is read and written once for four; the last pass repeats its last tap, which changes
 * no maximum. `a > b ? a : b` skips a NaN in a and is one instruction.
 */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"

#define LARGER(a, b) ((a) > (b) ? (a) : (b))

#define MAX_POOL(suffix, type)                                                                               \
  void HAI_KERNEL(max_pool_##suffix)(const type* x, int64_t row_stride, int64_t column_stride, int64_t rows, \
                                     int64_t columns, int64_t channels, type lowest, type* restrict y) {     \
    const int64_t taps = rows * columns;                                                                     \
    for (int64_t c = 0; c < channels; ++c) y[c] = lowest;                                                    \
    for (int64_t first = 0; first < taps; first += 4) {                                                      \
      const type* tap[4];                                                                                    \
      for (int64_t i = 0; i < 4; ++i) {                                                                      \
        const int64_t t = first + i < taps ? first + i : taps - 1;                                           \
        tap[i] = x + t / columns * row_stride + t % columns * column_stride;                                 \
      }                                                                                                      \
      const type* p = tap[0];                                                                                \
      const type* q = tap[1];                                                                                \
      const type* r = tap[2];                                                                                \
      const type* s = tap[3];                                                                                \
      for (int64_t c = 0; c < channels; ++c) {                                                               \
        type best = LARGER(p[c], y[c]);                                                                      \
        best = LARGER(q[c], best);                                                                           \
        best = LARGER(r[c], best);                                                                           \
        y[c] = LARGER(s[c], best);                                                                           \
      }                                                                                                      \
    }                                                                                                        \
  }

MAX_POOL(f32, float)
MAX_POOL(s8, int8_t)
MAX_POOL(u8, uint8_t)
MAX_POOL(s16, int16_t)

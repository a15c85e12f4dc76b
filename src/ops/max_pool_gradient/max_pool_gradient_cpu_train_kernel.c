/* hai_max_pool_gradient_f32: gives dy of one window to the first of its largest elements, for up to 64 channels.
 *
 * Two passes over the taps: the largest value, then where it first stands. `left` is what is still to be given: after
 * the first hit it is zero. Branch-free, so that compilers vectorise over the channels. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"

#define MOST_CHANNELS 64

void HAI_KERNEL(hai_max_pool_gradient_f32)(const float* x, float* dx, const float* dy, int64_t row_stride,
                                           int64_t column_stride, int64_t rows, int64_t columns, int64_t channels);
void HAI_KERNEL(hai_max_pool_gradient_f32)(const float* x, float* dx, const float* dy, int64_t row_stride,
                                           int64_t column_stride, int64_t rows, int64_t columns, int64_t channels) {
  float best[MOST_CHANNELS];
  float left[MOST_CHANNELS];
  for (int64_t c = 0; c < channels; ++c) best[c] = -__builtin_inff();
  for (int64_t c = 0; c < channels; ++c) left[c] = dy[c];
  for (int64_t t = 0; t < rows * columns; ++t) {
    const float* tap = x + t / columns * row_stride + t % columns * column_stride;
    for (int64_t c = 0; c < channels; ++c) best[c] = tap[c] > best[c] ? tap[c] : best[c]; /* passes over NaN */
  }
  for (int64_t t = 0; t < rows * columns; ++t) {
    const int64_t offset = t / columns * row_stride + t % columns * column_stride;
    const float* tap = x + offset;
    float* restrict to = dx + offset;
    for (int64_t c = 0; c < channels; ++c) {
      const int here = tap[c] == best[c];
      to[c] += here ? left[c] : 0.0F;
      left[c] = here ? 0.0F : left[c];
    }
  }
}

/* hai_average_pool_gradient_f32: adds dy / divisor of one window to every element under it, for up to 64 channels.
 *
 * The quotients are made once and kept; compilers vectorise over the channels. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"

#define MOST_CHANNELS 64

void HAI_KERNEL(hai_average_pool_gradient_f32)(float* dx, const float* dy, int64_t row_stride, int64_t column_stride,
                                               int64_t rows, int64_t columns, int64_t channels, float divisor);
void HAI_KERNEL(hai_average_pool_gradient_f32)(float* dx, const float* dy, int64_t row_stride, int64_t column_stride,
                                               int64_t rows, int64_t columns, int64_t channels, float divisor) {
  float share[MOST_CHANNELS];
  for (int64_t c = 0; c < channels; ++c) share[c] = dy[c] / divisor;
  for (int64_t t = 0; t < rows * columns; ++t) {
    float* to = dx + t / columns * row_stride + t % columns * column_stride;
    for (int64_t c = 0; c < channels; ++c) to[c] += share[c];
  }
}

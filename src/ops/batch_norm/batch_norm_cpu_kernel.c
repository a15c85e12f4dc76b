/* y = x * factor + offset, one factor and offset a channel, channels last. In place is allowed. */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"

void HAI_KERNEL(hai_scale_shift_f32)(const float* x, const float* factor, const float* offset, float* y, int64_t rows,
                                     int64_t channels);
void HAI_KERNEL(hai_scale_shift_f32)(const float* x, const float* factor, const float* offset, float* y, int64_t rows,
                                     int64_t channels) {
  for (int64_t r = 0; r < rows; ++r) {
    HAI_INDEPENDENT
    for (int64_t c = 0; c < channels; ++c) {
      y[r * channels + c] = HAI_FMA_F32(x[r * channels + c], factor[c], offset[c]);
    }
  }
}

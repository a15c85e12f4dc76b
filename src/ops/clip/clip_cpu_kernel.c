/* clip in f32: y = min(max(x, low), high), NaN stays. In place is allowed. */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"

void HAI_KERNEL(hai_clip_f32)(const float* x, float* y, int64_t count, float low, float high);
void HAI_KERNEL(hai_clip_f32)(const float* x, float* y, int64_t count, float low, float high) {
  HAI_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float above = x[i] < low ? low : x[i];
    y[i] = above > high ? high : above;
  }
}

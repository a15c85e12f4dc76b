/* The two sweeps of batch_norm_train_gradient over [rows][width] numbers, one set of parameters a column.
 *
 * g is dy where v = x factor + offset, what the activation was given, lies between low and high; without an activation
 * these are infinite. Loops over columns, which compilers vectorise. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"

/* sum[c] = sum of g, product[c] = sum of g (x - mean[c]) */
void HAI_KERNEL(hai_batch_norm_gradient_sums_f32)(const float* x, const float* dy, const float* factor,
                                                  const float* offset, const float* mean, int64_t rows, int64_t width,
                                                  float low, float high, float* restrict sum, float* restrict product);
void HAI_KERNEL(hai_batch_norm_gradient_sums_f32)(const float* x, const float* dy, const float* factor,
                                                  const float* offset, const float* mean, int64_t rows, int64_t width,
                                                  float low, float high, float* restrict sum, float* restrict product) {
  for (int64_t c = 0; c < width; ++c) sum[c] = product[c] = 0.0F;
  for (int64_t r = 0; r < rows; ++r) {
    const float* a = x + r * width;
    const float* b = dy + r * width;
    HAI_INDEPENDENT
    for (int64_t c = 0; c < width; ++c) {
      const float v = a[c] * factor[c] + offset[c];
      const float g = ((v > low) & (v < high)) ? b[c] : 0.0F;
      sum[c] += g;
      product[c] += g * (a[c] - mean[c]);
    }
  }
}

/* dx = g factor + x slope + shift */
void HAI_KERNEL(hai_batch_norm_gradient_apply_f32)(const float* x, const float* dy, const float* factor,
                                                   const float* offset, const float* slope, const float* shift,
                                                   int64_t rows, int64_t width, float low, float high, float* dx);
void HAI_KERNEL(hai_batch_norm_gradient_apply_f32)(const float* x, const float* dy, const float* factor,
                                                   const float* offset, const float* slope, const float* shift,
                                                   int64_t rows, int64_t width, float low, float high, float* dx) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* a = x + r * width;
    const float* b = dy + r * width;
    float* to = dx + r * width;
    HAI_INDEPENDENT
    for (int64_t c = 0; c < width; ++c) {
      const float v = a[c] * factor[c] + offset[c];
      const float g = (v > low) & (v < high) ? b[c] : 0.0F;
      to[c] = g * factor[c] + (a[c] * slope[c] + shift[c]);
    }
  }
}

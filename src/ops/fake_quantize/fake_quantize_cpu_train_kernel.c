/* hai_fake_quantize_f32 and its backward step: loops over types/fake_quantize.h for elements of one grid.
 *
 * In f64, as the reference; compilers vectorise the loops. In place is allowed (y == x, dx == dy or dx == x). */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "types/fake_quantize.h"

void HAI_KERNEL(hai_fake_quantize_f32)(const float* x, const float* dy, float* out, int64_t count,
                                       const hai_fake_grid* grid);
void HAI_KERNEL(hai_fake_quantize_f32)(const float* x, const float* dy, float* out, int64_t count,
                                       const hai_fake_grid* grid) {
  const hai_fake_grid g = *grid;
  if (dy == 0) {
    HAI_INDEPENDENT
    for (int64_t i = 0; i < count; ++i) out[i] = (float)hai_fake_quantize((double)x[i], g);
    return;
  }
  HAI_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const double q = hai_fake_step((double)x[i], g);
    const float given = dy[i];
    out[i] = q < g.least || q > g.most ? 0.0F : given;
  }
}

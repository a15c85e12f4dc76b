/* hai_unary_gradient_f32: loops over types/unary_gradient_table.h.
 *
 * One loop per function, which compilers vectorise (float_math.h is branch-free). In place is allowed (dx == dy or dx
 * == v). */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "types/unary_gradient_table.h"
#include "types/unary_table.h"

#define HAI_LOOP(name, of, f64, f32, formula)                                                               \
  static void name##_loop(const float* vs, const float* dys, float* dxs, int64_t count, float a, float b) { \
    (void)a;                                                                                                \
    (void)b;                                                                                                \
    HAI_INDEPENDENT                                                                                         \
    for (int64_t i = 0; i < count; ++i) {                                                                   \
      const float v = vs[i];                                                                                \
      (void)v;                                                                                              \
      dxs[i] = dys[i] * (f32);                                                                              \
    }                                                                                                       \
  }
HAI_UNARY_GRADIENT_TABLE(HAI_LOOP)

void HAI_KERNEL(hai_unary_gradient_f32)(int32_t function, const float* v, const float* dy, float* dx, int64_t count,
                                        float a, float b);
void HAI_KERNEL(hai_unary_gradient_f32)(int32_t function, const float* v, const float* dy, float* dx, int64_t count,
                                        float a, float b) {
  switch (function) {
#define HAI_CASE(name, ...)              \
  case HAI_UNARY_##name:                 \
    name##_loop(v, dy, dx, count, a, b); \
    return;
    HAI_UNARY_GRADIENT_TABLE(HAI_CASE)
    default:
      return;
  }
}

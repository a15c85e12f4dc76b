/* hai_sum_of_squares_f32: in f64, where the square of an f32 is exact, in 16 lanes that are added in order at the end:
 * the same bits on every instruction set. */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"

#define HAI_SUM_LANES 16

double HAI_KERNEL(hai_sum_of_squares_f32)(const float* x, int64_t count);
double HAI_KERNEL(hai_sum_of_squares_f32)(const float* x, int64_t count) {
  double lanes[HAI_SUM_LANES] = {0};
  int64_t i = 0;
  for (; i + HAI_SUM_LANES <= count; i += HAI_SUM_LANES) {
    for (int k = 0; k < HAI_SUM_LANES; ++k) {
      const double wide = (double)x[i + k];
      lanes[k] += wide * wide;
    }
  }
  for (int k = 0; i + k < count; ++k) {
    const double wide = (double)x[i + k];
    lanes[k] += wide * wide;
  }
  double sum = 0.0;
  for (int k = 0; k < HAI_SUM_LANES; ++k) sum += lanes[k];
  return sum;
}

/* fixed_point_rows: sums of a convolution or matrix product rounded as TensorFlow Lite does, for imported integer
 * models.
 *
 * Method: hai_fixed_point_steps (types/fixed_point.h) on each sum of a tile, in f64, written so that the compiler
 * vectorises it: the rounding is two additions, there is no branch. Same bits on every instruction set. Not for models
 * that HAI quantizes.
 */
#include "types/fixed_point.h"
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/epilogue.h"

void HAI_KERNEL(fixed_point_rows)(const hai_fixed_rows* r);
void HAI_KERNEL(fixed_point_rows)(const hai_fixed_rows* r) {
  const double lo = (double)r->lo;
  const double hi = (double)r->hi;
  const int32_t zero_point = r->zero_point;
  const int32_t cols = r->cols;
  const int32_t* restrict bias = r->bias;
  const double* restrict factor = r->factor;
  const double* restrict unit = r->unit;
  for (int32_t m = 0; m < r->rows; ++m) {
    int32_t* restrict sums = r->sums + m * r->sums_stride;
    for (int32_t c = 0; c < cols; ++c) {
      const int32_t sum = (int32_t)((uint32_t)sums[c] + (uint32_t)bias[c]);
      sums[c] = hai_fixed_point_steps(sum, factor[c], unit[c], lo, hi);
    }
    if (r->out == 0) continue;
    uint8_t* restrict out = r->out + m * r->out_stride;
    for (int32_t c = 0; c < cols; ++c) out[c] = (uint8_t)(sums[c] + zero_point);
  }
}

/* pointwise_f32: out[i, j] = clamp(bias[j] + sum over k of x[i, k] panel[k, j]) for a block of pixels and one panel of
 * columns: 1x1 convolutions whose image comes from far.
 *
 * The sums are those of gemm_f32, to the bit. While a tile of pixels is multiplied the next one is fetched, a line a
 * step: all lines at once would wait for each other. */
#ifndef HAI_DEVICES_CPU_TRAIN_KERNELS_POINTWISE_H_
#define HAI_DEVICES_CPU_TRAIN_KERNELS_POINTWISE_H_

#include <stdint.h>

typedef struct {
  const float* x; /* [pixels][depth] */
  int64_t pixels, depth;
  const float* panel; /* [depth][nr], as gemm_f32 has it */
  const float* bias;  /* nr */
  float lo, hi;
  float* out;
  int64_t out_stride;
  int32_t cols;
} hai_pointwise;

#endif /* HAI_DEVICES_CPU_TRAIN_KERNELS_POINTWISE_H_ */

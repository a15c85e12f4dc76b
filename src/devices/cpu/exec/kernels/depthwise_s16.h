/* Depthwise convolution of 16-bit activations: the walk of depthwise.h, with integer sums in f64.
 *
 * Weights are [kernel_rows * kernel_cols][channels_padded] f32 (integers of at most 16 bits, exact), channels_padded a
 * multiple of 16. All partial sums of q * weight + bias stay below 2^53, so that f64 adds them exactly. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_S16_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_S16_H_

#include <stdint.h>

typedef struct {
  const void* const* rows; /* i16; see depthwise.h */
  const void* idle;        /* zero points */
  int64_t image_cols, channels, channels_padded;
  int64_t kernel_rows, kernel_cols, stride_cols, dilation_cols, pad_left;
  int64_t first_col, col_count;
  const float* weights;
  const double* bias;      /* channels_padded: integer bias - input_zero_point * sum of weights */
  const float* multiplier; /* channels_padded */
  double lo, hi;           /* bounds minus zero point */
  int32_t zero_point;
  int16_t* out;
  float* out_f32;     /* when not 0: float(sum * multiplier) goes here, nothing to `out` */
  int64_t out_stride; /* elements from pixel to pixel */
} hai_depthwise_s16;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_S16_H_ */

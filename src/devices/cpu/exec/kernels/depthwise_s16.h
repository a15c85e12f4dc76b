/* Depthwise convolution of 16-bit activations: the walk of depthwise.h, with exact integer sums.
 *
 * Weights are [kernel_rows * kernel_cols][channels_padded], channels_padded a multiple of 16. All partial sums of
 * q * weight + bias stay below 2^53, so that f64 adds them exactly. Where they stay below 2^31, and there is a vector
 * of channels, 32-bit sums do at twice the lanes: then the forms ending in _s32 are given, else the others. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_S16_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_S16_H_

#include <stdint.h>

typedef struct {
  const void* const* rows; /* i16; see depthwise.h */
  const void* idle;        /* zero points */
  int64_t image_cols, channels, channels_padded;
  int64_t pixel_elements; /* from pixel to pixel of the rows; 0: channels */
  int64_t kernel_rows, kernel_cols, stride_cols, dilation_cols, pad_left;
  int64_t first_col, col_count;
  const int16_t* weights;
  const double* bias;         /* channels_padded: integer bias - input_zero_point * sum of weights */
  const int32_t* weights_s32; /* in the lower halves, the upper ones zero */
  const int32_t* bias_s32;
  const float* multiplier; /* channels_padded */
  double lo, hi;           /* bounds minus zero point */
  int32_t zero_point;
  int16_t* out;
  float* out_f32;     /* when not 0: float(sum * multiplier) goes here, nothing to `out` */
  int64_t out_stride; /* elements from pixel to pixel */
} hai_depthwise_s16;

/* Of 32-bit sums: at least the lanes of the widest vector. */
#define HAI_DEPTHWISE_S16_LEAST_CHANNELS 16

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_S16_H_ */

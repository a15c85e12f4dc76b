/* Depthwise convolution kernels: pixels [first_col, first_col + col_count) of one output row, all channels.
 *
 * `rows[r]` is the input row under kernel row r at column 0, or a row of zeros (f32) or zero points (i8) above and
 * below the image: such a row has image_cols columns as well. Columns left and right of the image count as 0 or as the
 * zero point. Weights are [kernel_rows * kernel_cols][channels_padded] f32, channels_padded a multiple of 16.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_H_

#include <stdint.h>

typedef struct {
  const void* const* rows;
  const void* idle;
  int64_t image_cols, channels, channels_padded;
  int64_t pixel_elements; /* from pixel to pixel of the rows; 0: channels */
  int64_t kernel_rows, kernel_cols, stride_cols, dilation_cols, pad_left;
  int64_t first_col, col_count;
  const float* weights;
  const float* bias;  /* channels_padded; i8: integer bias - input_zero_point * sum of weights */
  float lo, hi;       /* f32: clamp; i8: bounds minus zero point */
  void* out;          /* first pixel of the row range */
  int64_t out_stride; /* elements from pixel to pixel */
  /* i8 only: all partial sums of q * weight + bias stay below 2^24, so that f32 adds them exactly. */
  const float* multiplier; /* channels_padded */
  int32_t input_signed, zero_point;
  int32_t* sums; /* when not 0: sums with bias, [col_count][channels_padded], in place of `out` */
} hai_depthwise;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_H_ */

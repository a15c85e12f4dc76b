/* The gradient of depthwise weights from one row of output pixels. */
#ifndef HAI_OPS_CONV2D_WEIGHT_GRADIENT_CONV2D_WEIGHT_GRADIENT_CPU_TRAIN_KERNEL_H_
#define HAI_OPS_CONV2D_WEIGHT_GRADIENT_CONV2D_WEIGHT_GRADIENT_CPU_TRAIN_KERNEL_H_

#include <stdint.h>

typedef struct {
  const float* const* rows; /* the image row under each kernel row at column 0; zeros above and below the image */
  const float* dy;          /* out_cols pixels */
  int64_t image_cols, out_cols, channels;
  int64_t kernel_rows, kernel_cols, stride_cols, dilation_cols, pad_left;
  float* sums; /* [kernel_rows * kernel_cols][channels], added to */
} hai_depthwise_gradient;

#endif /* HAI_OPS_CONV2D_WEIGHT_GRADIENT_CONV2D_WEIGHT_GRADIENT_CPU_TRAIN_KERNEL_H_ */

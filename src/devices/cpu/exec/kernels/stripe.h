/* Copying a rectangle of an image into the form that a matrix-product kernel reads: padding written out, integers in
 * the kernel's left type (gemm.h). A convolution's tiles then read rows of the copy where they lie. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_STRIPE_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_STRIPE_H_

#include <stdint.h>

typedef enum {
  HAI_STRIPE_F32 = 0,       /* copied; padding 0 */
  HAI_STRIPE_BYTES = 1,     /* q ^ flip; padding `padding` */
  HAI_STRIPE_S8_TO_S16 = 2, /* q - zero_point of i8; padding 0 */
  HAI_STRIPE_U8_TO_S16 = 3, /* q - zero_point of u8; padding 0 */
  HAI_STRIPE_S16 = 4        /* copied; padding zero_point */
} hai_stripe_kind;

typedef struct {
  const void* image; /* one image, [rows][cols][pixel_elements] */
  int64_t image_rows, image_cols, channels;
  int64_t pixel_elements; /* from pixel to pixel of the image; 0: channels */
  /* The rectangle: rows first_row, first_row + row_step, ..., which may lie outside of the image; columns likewise. */
  int64_t first_row, row_count, row_step;
  int64_t first_col, col_count, col_step;
  void* out; /* [row_count][col_count][channels], dense */
  hai_stripe_kind kind;
  int32_t zero_point;
  uint8_t flip, padding;
} hai_stripe;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_STRIPE_H_ */

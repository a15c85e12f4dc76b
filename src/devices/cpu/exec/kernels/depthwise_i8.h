/* Integer depthwise convolution by dot products: four columns of a channel are one operand of a dot product.
 *
 * One call writes `out_cols` columns of up to `rows_at_once` output rows of one image. The input is a copy of the rows
 * under them, padding written out and bytes as the kernel wants them (stripe.h): [(rows_at_once - 1) * stride_rows +
 * kernel_rows][in_cols] [channels]. Columns up to (out_cols, rounded up to `pixels` - 1) * stride_cols + 4 * quads are
 * read, where pixels = 2 for stride_cols 1, else 1;  quads = ceil(((pixels - 1) * stride_cols + kernel_cols) / 4), at
 * most 2. Output channels go in blocks of `channels` (of hai_depthwise_i8_kernel); the last block ends at the last
 * channel and so may overlap the one before, which then is written twice. Parameters of a block: weights
 * [kernel_rows][pixels][quads][channels][4] i8, four taps a channel, those of pixel 1 shifted by one column; bias i32
 * and multiplier f32 [channels], bias with the effect of `flip` in it. The channels of a block are in the order in
 * which interleaving bytes leaves them: hai_depthwise_i8_channel. Sums are exact in i32. out = y_flip ^ clamp(round(sum
 * * multiplier) + zero_point, lo, hi), all as i8; the caller has proved |sum * multiplier| < 2^31.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_I8_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_I8_H_

#include <stdint.h>

typedef struct {
  const uint8_t* stripe;
  int64_t row_bytes; /* of the stripe: in_cols * channels */
  int64_t channels, kernel_rows, stride_rows, stride_cols;
  int32_t pixels, quads;
  const int8_t* weights;
  const int32_t* bias;
  const float* multiplier;
  int32_t zero_point; /* of the output as i8: less 128 for u8 */
  int8_t lo, hi;
  uint8_t y_flip; /* 0x80 for u8 */
  uint8_t* out;
  int64_t out_row_bytes;      /* from output row to output row */
  int64_t out_cols, out_rows; /* out_rows: 1 .. rows_at_once */
} hai_depthwise_i8;

typedef struct {
  int32_t channels; /* of a block */
  int32_t rows_at_once;
  int32_t left_signed; /* the stripe holds i8 (q, or q - 128 of u8), else u8 (q, or q + 128 of i8) */
  void (*run)(const hai_depthwise_i8* d);
} hai_depthwise_i8_kernel;

/* The channel of a block whose parameters stand at `place` of `channels`: interleaving works in groups of 16 bytes. */
static inline int32_t hai_depthwise_i8_channel(int32_t place, int32_t channels) {
  const int32_t vector = place / (channels / 4);
  const int32_t lane = place % (channels / 4);
  return 16 * (lane / 4) + 4 * vector + lane % 4;
}

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_DEPTHWISE_I8_H_ */

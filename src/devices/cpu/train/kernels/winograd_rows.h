/* The transforms of F(2x2, 3x3), f32, over rows of tiles, for 3x3 convolutions of stride 1 while weights change.
 *
 * A tile is 2x2 output pixels, which read 4x4 of the image; in between are 16 taps, one matrix product each. The
 * matrices are those of types/winograd.h, tile 2. The gradient of the weights has the same taps: F(3x3, 2x2) reads the
 * image through the same matrix, dy through that of weights, and the sums of each tap become 3x3 weights once. */
#ifndef HAI_DEVICES_CPU_TRAIN_KERNELS_WINOGRAD_ROWS_H_
#define HAI_DEVICES_CPU_TRAIN_KERNELS_WINOGRAD_ROWS_H_

#include <stdint.h>

#define HAI_WINOGRAD_ROWS_TAPS 16

/* V[t][tile][channels] of `tiles` neighbouring tiles. */
typedef struct {
  const float* rows[4]; /* image rows at column 0, `channels` a pixel; rows outside the image are zeros */
  int64_t first_col;    /* of the first tile's window, may be negative: columns outside are zeros */
  int64_t image_cols, channels, pixel_stride;
  int64_t tiles;
  float* out;
  int64_t tap_stride, tile_stride; /* elements */
} hai_winograd_input_rows;

/* M[t][tile][cols] to 2x2 pixels a tile, with bias and clamp. */
typedef struct {
  const float* sums;
  int64_t tap_stride, tile_stride;
  int64_t tiles;
  int32_t cols;
  int32_t rows; /* 2, or 1 at the lower edge of an odd image */
  const float* bias;
  float lo, hi;
  float* out; /* of the first tile */
  int64_t row_stride, pixel_stride;
  int64_t out_cols; /* from the first tile to the right edge */
} hai_winograd_output_rows;

/* 9 taps of weights, [9][depth][columns], to U[t] at out + t * tap_stride, [depth][columns]. */
typedef struct {
  const float* taps;
  int64_t count; /* depth * columns, whole vectors */
  float* out;
  int64_t tap_stride;
} hai_winograd_weights;

/* D[t][tile][channels] of dy, for the gradient of the weights. */
typedef struct {
  const float* rows[2]; /* rows of dy at the first tile; outside the image they are zeros */
  int64_t out_cols;     /* from the first tile to the right edge */
  int64_t channels, pixel_stride;
  int64_t tiles;
  float* out;
  int64_t tap_stride, tile_stride;
} hai_winograd_gradient_rows;

/* Sums S[t][rows][cols] over tiles to weights: row i, tap (r, k), column c at out + i * row_stride + (3 r + k) *
 * tap_stride + c. */
typedef struct {
  const float* sums;
  int64_t sum_tap_stride, sum_row_stride;
  int64_t rows, cols;
  float* out;
  int64_t row_stride, tap_stride;
} hai_winograd_weight_sums;

#endif /* HAI_DEVICES_CPU_TRAIN_KERNELS_WINOGRAD_ROWS_H_ */

/* outer_f32: out[i, j] (+)= sum over r of a[r, i] b[r, j], a tile of `rows` x `cols` sums over `count` rows of a and b.
 *
 * Both operands are read where they lie, row by row; the tile is at most mr x nr of gemm_f32, whose registers it uses
 * alike. Sums run over r in order, one multiply-add each. Nothing outside the operands' first `rows` and `cols` columns
 * is read but with `padded`: then b's rows can be read to a whole number of vectors. */
#ifndef HAI_DEVICES_CPU_TRAIN_KERNELS_OUTER_H_
#define HAI_DEVICES_CPU_TRAIN_KERNELS_OUTER_H_

#include <stdint.h>

typedef struct {
  const float* a;
  int64_t a_stride;
  const float* b;
  int64_t b_stride;
  int64_t count;
  int32_t rows, cols;
  int32_t padded;
  int32_t accumulate; /* start from `out` instead of zero */
  float* out;
  int64_t out_stride;
  /* What is fetched meanwhile, a line of each a step; 0: nothing. */
  const float *next_a, *next_b;
} hai_outer_f32;

#endif /* HAI_DEVICES_CPU_TRAIN_KERNELS_OUTER_H_ */

/* Matrix-product micro-kernels: one tile of `rows` x `cols` sums over k, for convolutions and matrix products alike.
 *
 * The left operand is read where it lies: k is cut into `segment_count` runs of `segment_steps` steps (the rows of a
 * convolution's kernel, or one run for a 1x1 convolution or a packed tile); row m of a run starts at
 * segments[s] + m * row_stride_bytes. Nothing outside rows * segment_count * segment_steps is read. The right operand
 * is a packed panel: for each step `nr` columns, 64-byte aligned, columns past the matrix are zero.
 *
 * f32: a step is one k. Sums start from `bias` and run over k in order, one fused multiply-add each, so that a result
 * does not depend on tiling or threads; then clamp and store.
 * i8: a step is `k_group` ks (4 for dot-product instructions, 2 or 1 otherwise), laid out [step][column][k_group]. The
 * left operand is of `left` type (see hai_gemm_left). Sums are i32 and wrap; the caller has proved that the true sums
 * fit. Either requantized and stored (out != 0), or added raw into `sums`.
 * s16: left 16-bit, right i8 or i16, laid out like i8's; sums are i64 and exact. Products are summed in 32 bits for
 * at most `most_steps` steps, then added to the i64 sums. i16 weights are split in the register into 256 high + low, so
 * that neither part's sums leave 32 bits early.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_H_

#include <stdint.h>

/* How an i8 kernel wants its left operand. */
typedef enum {
  HAI_GEMM_LEFT_U8 = 0, /* unsigned bytes: q for u8, q + 128 for i8 */
  HAI_GEMM_LEFT_S8 = 1, /* signed bytes: q for i8, q - 128 for u8 */
  HAI_GEMM_LEFT_S16 = 2 /* 16-bit: q - zero_point */
} hai_gemm_left;

typedef struct {
  const void* const* segments;
  int64_t segment_count;
  int64_t segment_steps;
  int64_t row_stride_bytes;
  const void* panel;
  int32_t rows; /* 1 .. mr */
  int32_t cols; /* 1 .. nr: only these are stored */
} hai_gemm_operands;

typedef struct {
  hai_gemm_operands in;
  const float* bias;  /* nr values; ignored when accumulating */
  float lo, hi;       /* clamp; -inf and inf for none; keeps NaN */
  int32_t accumulate; /* start from `out`, which then has nr readable columns */
  float* out;
  int64_t out_stride; /* elements from row to row */
} hai_gemm_f32_tile;

typedef struct {
  hai_gemm_operands in;
  int32_t* sums;      /* [mr][nr], read when accumulating, written when out == 0 */
  int32_t accumulate; /* start from `sums` instead of zero */
  /* The store: out = zero_point + round(clamp(float(sum + bias) * multiplier, lo, hi)). */
  uint8_t* out; /* i8 or u8: the low byte is stored */
  int64_t out_stride;
  const int32_t* bias;     /* nr values */
  const float* multiplier; /* nr values */
  float lo, hi;            /* bounds minus zero point */
  int32_t zero_point;
} hai_gemm_i8_tile;

typedef struct {
  hai_gemm_operands in;
  int64_t* sums;      /* [mr][nr], written */
  int64_t most_steps; /* steps after which 32 bits might overflow, at least 1 */
} hai_gemm_s16_tile;

typedef struct {
  const char* name; /* the contract: gemm_f32__avx512_14x32 */
  int32_t mr, nr, k_group;
  hai_gemm_left left; /* integers */
  void (*run_f32)(const hai_gemm_f32_tile* tile);
  void (*run_i8)(const hai_gemm_i8_tile* tile);
  void (*run_s16)(const hai_gemm_s16_tile* tile);
} hai_gemm_kernel;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_H_ */

/* What follows the sums of a convolution or matrix product and does not fit into the micro-kernel's own store: tables,
 * residual additions, f32 results of integer sums. Works on one tile that is still in the first cache. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_EPILOGUE_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_EPILOGUE_H_

#include <stdint.h>

/* f32: out = clamp(tile + residual). `residual` 0: none. */
typedef struct {
  const float* tile;
  int64_t tile_stride; /* elements */
  int32_t rows, cols;
  const float* residual;
  int64_t residual_stride;
  float lo, hi;
  float* out;
  int64_t out_stride;
} hai_epilogue_f32;

/* Integer: the rounding points of docs/reference/arithmetic.md, in order.
 *   q = zero_point + round(clamp(float(sum + bias) * multiplier, lo, hi))
 *   q = table[q - table_first]                                                     (table != 0)
 *   q = out_zero_point + round(clamp(float(q - sum_zero_point) * sum_multiplier
 *                                    + float(residual - residual_zero_point) * residual_multiplier, out_lo, out_hi))
 *                                                                                  (residual != 0)
 *   out = low byte of q
 * or, with out_s16 != 0:  out_s16 = q, without the addition
 * or, with out_f32 != 0:  out_f32 = float(sum + bias) * multiplier. */
typedef struct {
  const int32_t* sums;
  int64_t sums_stride; /* elements */
  int32_t rows, cols;
  const int32_t* bias;
  const float* multiplier;
  float lo, hi; /* bounds minus zero point */
  int32_t zero_point;
  int32_t rounded;      /* the sums are steps already: bias and multiplier are not applied */
  const int16_t* table; /* an entry for each q that lo and hi allow */
  int32_t table_first;  /* the least q that they allow */
  const uint8_t* residual;
  int64_t residual_stride;
  int32_t residual_signed; /* i8, else u8 */
  int32_t residual_zero_point;
  float residual_multiplier;
  int32_t sum_zero_point; /* of what the table gives; zero_point where there is none */
  float sum_multiplier;
  float out_lo, out_hi; /* bounds minus zero point */
  int32_t out_zero_point;
  uint8_t* out;
  int16_t* out_s16;
  float* out_f32;
  int64_t out_stride; /* elements */
} hai_epilogue_i8;

/* Sums to steps of the output by hai_fixed_point_steps (types/fixed_point.h): into `out`, with the zero point added, or
 * (out == 0) over the sums, for hai_epilogue_i8 with `rounded` set. */
typedef struct {
  int32_t* sums;
  int64_t sums_stride; /* elements */
  int32_t rows, cols;
  const int32_t* bias;
  const double* factor;
  const double* unit;
  float lo, hi; /* bounds minus zero point */
  uint8_t* out;
  int64_t out_stride;
  int32_t zero_point;
} hai_fixed_rows;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_EPILOGUE_H_ */

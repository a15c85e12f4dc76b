/* What follows the 64-bit sums of a product with 16-bit activations: requantization through f64, look-up tables,
 * residual additions. Works on one tile that is still in the first cache. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_EPILOGUE_S16_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_EPILOGUE_S16_H_

#include <stdint.h>

/*   out = zero_point + round(clamp(double(sum + bias) * double(multiplier), lo, hi))
 * or, with out_f32 != 0:  out_f32 = float(double(sum + bias) * double(multiplier)).
 * sums, bias and multiplier are readable up to a multiple of 16 columns; |sum + bias| < 2^53. */
typedef struct {
  const int64_t* sums;
  int64_t sums_stride; /* elements */
  int32_t rows, cols;
  const int64_t* bias;
  const float* multiplier;
  double lo, hi; /* bounds minus zero point */
  int32_t zero_point;
  int16_t* out;
  float* out_f32;
  int64_t out_stride; /* elements */
} hai_requantize_s16;

/* The chain behind the first rounding, in place: y = table[y - table_first], then
 *   y = out_zero_point + round(clamp(float(y - zero_point) * multiplier
 *                                    + float(residual - residual_zero_point) * residual_multiplier, lo, hi)) */
typedef struct {
  int16_t* y;
  int64_t y_stride; /* elements */
  int32_t rows, cols;
  const int16_t* table; /* an entry for each y that the first rounding allows; 0: none */
  int32_t table_first;  /* the least of them */
  const void* residual; /* i16, or bytes; 0: none */
  int64_t residual_stride;
  int32_t residual_bits, residual_signed;
  int32_t zero_point, residual_zero_point;
  float multiplier, residual_multiplier;
  int32_t lo, hi, out_zero_point; /* stored integers */
} hai_finish_s16;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_EPILOGUE_S16_H_ */

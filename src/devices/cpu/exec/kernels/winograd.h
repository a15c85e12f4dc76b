/* The two transforms of winograd_conv2d around its matrix products (types/winograd.h; one product a tap,
 * kernels/gemm.h). Integers are exact, so that any set of vectors gives the same bits; of f32 the order of operations
 * is fixed. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_WINOGRAD_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_WINOGRAD_H_

#include <stdint.h>

#include "devices/cpu/exec/kernels/gemm.h"

/* One tile: d[(tile + 2)^2][channels], overwritten, to V[t] at out + t * tap_stride_bytes. */
typedef struct {
  int32_t tile;
  int64_t channels;
  void* d; /* i16: q - zero_point; or f32 */
  void* out;
  int64_t tap_stride_bytes;
  const int32_t* shifts; /* of each tap */
  int32_t rounds;        /* f32: V is rounded to f16 */
  hai_gemm_left left;    /* integers: the form in which the product reads V: V, V + 128, or 16 bits */
} hai_winograd_input;

/* One tile and `cols` output channels: M[t] at sums + t * tap_stride, to (tile * tile) rows of `cols` results. */
typedef struct {
  int32_t tile, cols;
  int64_t tap_stride; /* elements */
  const int32_t* sums;
  const float* real_sums;   /* winograd_output_f32 */
  const int32_t* exponents; /* e[t] */
  /* [tile * tile][bias_stride]: the bias, and what V + 128 added to M taken away. */
  const int32_t* bias_s32; /* sums proved to fit 32 bits (they may wrap on the way); 0: use bias_f64 */
  const double* bias_f64;
  int64_t bias_stride;
  const float* bias_f32; /* [cols] of winograd_output_f32 */
  const float* multiplier;
  float lo, hi;   /* bounds minus zero point; of f32 its clamp, which keeps NaN */
  int32_t* steps; /* [tile * tile][out_stride]: round(clamp(float(acc) * multiplier)), for hai_epilogue_i8.rounded */
  float* real;    /* the same, where steps == 0: float(acc) * multiplier; of f32 clamp(acc) */
  int64_t out_stride;
} hai_winograd_output;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_WINOGRAD_H_ */

/* How a layer becomes integer: batch norms folded into weights, the choice of scales, rounding. The compiler and the
 * quantizer call these, and so does whoever rebuilds a layer on a device without them (docs/design/0021): equal inputs,
 * equal bytes. Plain C, in f64 and rounded once; the rounding mode must be to nearest. */
#pragma once

#include <math.h>
#include <stdint.h>

#include "types/arithmetic.h"

#ifdef __cplusplus
extern "C" {
#endif

/* No scale is smaller: multipliers and their inverses stay finite. */
static const double HAI_SMALLEST_SCALE = 1e-30;
/* Highest number that a symmetric range of 16 bits is given: as much room above it, since pictures that were not seen
 * must not saturate. */
static const double HAI_WIDE_HIGH = 16383.0;
/* Multipliers are at most 2^8; scales that are raised for them stay clear of rounding. */
static const double HAI_LARGEST_USED_MULTIPLIER = 200.0;
/* A wide rounding point has so many steps for one of its 8-bit range. */
static const float HAI_STEPS_OF_A_POINT = 16.0F;

typedef struct {
  float scale;
  int32_t zero_point;
} hai_range_choice;

/* 8 bits for what was seen in [low, high]; zero is always kept. Symmetric: [-127, 127] around zero point 0. */
static inline hai_range_choice hai_choose_range_i8(double low, double high, int symmetric) {
  hai_range_choice out = {0, 0};
  low = low < 0 ? low : 0;
  high = high > 0 ? high : 0;
  if (symmetric) {
    out.scale = (float)fmax((-low > high ? -low : high) / 127.0, HAI_SMALLEST_SCALE);
    return out;
  }
  out.scale = (float)fmax((high - low) / 255.0, HAI_SMALLEST_SCALE);
  const double zero = nearbyint(-128.0 - low / (double)out.scale);
  out.zero_point = (int32_t)fmin(fmax(zero, -128.0), 127.0);
  return out;
}

static inline hai_range_choice hai_choose_range_i16(double low, double high) {
  const hai_range_choice out = {(float)fmax(fmax(fabs(low), fabs(high)) / HAI_WIDE_HIGH, HAI_SMALLEST_SCALE), 0};
  return out;
}

/* A batch norm with these statistics, as y = x * scale + offset. */
typedef struct {
  double scale;
  double offset;
} hai_channel_affine;

static inline hai_channel_affine hai_batch_norm_affine(double gamma, double beta, double mean, double variance,
                                                       double epsilon) {
  hai_channel_affine out;
  out.scale = gamma / sqrt(variance + epsilon);
  out.offset = beta - mean * out.scale;
  return out;
}
static inline float hai_fold_weight(float weight, double scale) { return (float)((double)weight * scale); }
static inline float hai_fold_bias(double bias, double scale, double offset) { return (float)(bias * scale + offset); }

/* The largest multiplier of a layer before it is divided by its output's scale. */
static inline double hai_layer_multiplier(double input_scale, double largest_weight, double limit, double largest_bias,
                                          double bias_limit) {
  return fmax(input_scale * (largest_weight / limit), largest_bias / bias_limit);
}
/* The scale of an activation, raised where a multiplier before it asks for more. */
static inline float hai_raised_scale(float scale, double least) { return (double)scale < least ? (float)least : scale; }

/* Of an output channel whose largest weight has this magnitude, on a grid of [-limit, limit]. */
static inline float hai_weight_scale(double largest, double limit) {
  return (float)fmax(largest / limit, HAI_SMALLEST_SCALE);
}
/* The same raised so that multiplier and bias stay in range (docs/reference/arithmetic.md). An output scale or a bias
 * limit of 0 bounds nothing. */
static inline float hai_bounded_weight_scale(float scale, double input_scale, double output_scale, double bias,
                                             double bias_limit) {
  double out = (double)scale;
  if (output_scale > 0) out = fmax(out, 2.0 * HAI_MULTIPLIER_MIN * output_scale / input_scale);
  if (bias_limit > 0) out = fmax(out, fabs(bias) / (bias_limit * input_scale));
  return (float)fmax(out, HAI_SMALLEST_SCALE);
}
/* To nearest, ties to even. */
static inline double hai_round_weight(float weight, float scale, double limit) {
  return fmin(fmax(nearbyint((double)weight / (double)scale), -limit), limit);
}
static inline double hai_round_bias(float bias, double input_scale, float weight_scale, double limit) {
  return fmin(fmax(nearbyint((double)bias / (input_scale * (double)weight_scale)), -limit), limit);
}

#ifdef __cplusplus
}
#endif

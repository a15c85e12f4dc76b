/* How TensorFlow Lite rounds the sums of its 8-bit models: the attribute rounding = "fixed_point" of products and
 * average pools, for models that were made there (docs/reference/arithmetic.md, "Fixed point"). Models that HAI
 * quantizes do not use it. Same rules as arithmetic.h: pure, static, the same bits on every machine.
 */
#ifndef HAI_TYPES_FIXED_POINT_H_
#define HAI_TYPES_FIXED_POINT_H_

#include "types/arithmetic.h"

/* The other way to requantize a sum, for integer models that TensorFlow Lite made ("fixed_point"): its two roundings,
 * written in f64 so that they are the same bits everywhere and equal to its 64-bit integers for |acc| < 2^22.
 *   t = floor(acc * factor + 1/2)          to multiples of `unit` of the output
 *   q = zero_point + (t * unit rounded, halves away from 0), clamped before it
 * factor * unit is s_x * s_w / s_y with 31 bits. `s_x * s_w / s_y` must be usable. */
typedef struct {
  double factor; /* in [1/2, 1), times a power of two where the multiplier is 1 or more */
  double unit;   /* a power of two, at most 1 */
} hai_fixed_point;

static inline hai_fixed_point hai_fixed_point_of(float s_x, float s_w, float s_y) {
  double fraction = (double)s_x * (double)s_w / (double)s_y;
  hai_fixed_point out = {1.0, 1.0};
  for (; fraction >= 1.0; fraction *= 0.5) out.factor *= 2.0;
  for (; fraction < 0.5; fraction *= 2.0) out.unit *= 0.5;
  const double bits = (double)(int64_t)(fraction * 2147483648.0 + 0.5) * (1.0 / 2147483648.0);
  if (bits == 1.0) { /* fraction was all ones: one half, and a power of two more */
    if (out.unit < 1.0) {
      out.unit *= 2.0;
      out.factor = 0.5;
    }
    return out;
  }
  out.factor *= out.unit < 4.656612873077392578125e-10 ? 0.0 : bits; /* a shift of more than 31 bits gives 0 there */
  return out;
}

/* The same for a mean of `count` elements, whose 31-bit multiplier is divided by the count, towards zero. */
static inline hai_fixed_point hai_fixed_point_of_mean(float s_x, float s_y, int64_t count) {
  const hai_fixed_point whole = hai_fixed_point_of(s_x, 1.0F, s_y);
  int exponent = 0;
  double fraction = whole.factor;
  for (; fraction >= 1.0; fraction *= 0.5) ++exponent;
  for (double unit = whole.unit; unit < 1.0; unit *= 2.0) --exponent;
  int moved = 0;
  while (moved < 32 && moved < 31 + exponent && (count >> (moved + 1)) > 0) ++moved;
  const int64_t bits = ((int64_t)(fraction * 2147483648.0) << moved) / count;
  hai_fixed_point out = {(double)bits * (1.0 / 2147483648.0), 1.0};
  for (exponent -= moved; exponent > 0; --exponent) out.factor *= 2.0;
  for (; exponent < 0; ++exponent) out.unit *= 0.5;
  return out;
}

/* In steps of the output, without the zero point: lo and hi are bounds minus zero point. */
static inline int32_t hai_fixed_point_steps(int32_t acc, double factor, double unit, double lo, double hi) {
  const double magic = 6755399441055744.0; /* 1.5 * 2^52: the sum has no bits for a fraction */
  const double x = (double)acc * factor + 0.5;
  const double rounded = (x + magic) - magic;
  const double t = (rounded > x ? rounded - 1.0 : rounded) * unit;
  const double clamped = hai_clamp_f64(t, lo, hi);
  return (int32_t)(clamped + (clamped < 0.0 ? -0.5 : 0.5));
}

static inline int32_t hai_requantize_fixed_point(int32_t acc, hai_fixed_point m, hai_output_range out) {
  return out.zero_point + hai_fixed_point_steps(acc, m.factor, m.unit, (double)(out.lo - out.zero_point),
                                                (double)(out.hi - out.zero_point));
}

/* The scale ratio of a "fixed_point" average, which sums stored integers and rounds halves away from the stored 0: a
 * little more than 1 decides the ties and nothing else, for up to 2048 elements. */
#define HAI_FIXED_POINT_AVERAGE_SCALE 1.00000095367431640625F /* 1 + 2^-20 */

#endif /* HAI_TYPES_FIXED_POINT_H_ */

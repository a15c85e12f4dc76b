/* f16 and bf16 in plain C: exact widening, and narrowing that rounds once, half to even, straight from f64.
 *
 * Why from f64: f64 -> f32 -> f16 rounds twice and can be one unit off. Infinities and the sign of zero are kept; a NaN
 * becomes the quiet NaN 0x7e00 (0x7fc0), so that its bits are the same everywhere.
 */
#ifndef HAI_TYPES_FLOAT_FORMAT_H_
#define HAI_TYPES_FLOAT_FORMAT_H_

#include <stdint.h>

typedef union {
  double value;
  uint64_t bits;
} hai_f64_bits;

typedef union {
  float value;
  uint32_t bits;
} hai_f32_bits;

static inline float hai_bf16_to_f32(uint16_t h) {
  hai_f32_bits f;
  f.bits = (uint32_t)h << 16;
  return f.value;
}

static inline float hai_f16_to_f32(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000U) << 16;
  const uint32_t exponent = (h >> 10) & 0x1fU;
  const uint32_t fraction = h & 0x3ffU;
  hai_f32_bits f;
  if (exponent == 31) {
    f.bits = sign | 0x7f800000U | (fraction << 13);
  } else if (exponent != 0) {
    f.bits = sign | ((exponent + 112) << 23) | (fraction << 13);
  } else {
    f.value = (float)fraction * 5.9604644775390625e-8F; /* 2^-24: exact */
    f.bits |= sign;
  }
  return f.value;
}

/* The nearest value with `fraction_bits` bits of fraction and least normal exponent `min_exponent`, as the bits of an
 * IEEE-like format with `exponent_bits` bits of exponent. */
static inline uint32_t hai_narrow_f64(double x, int fraction_bits, int exponent_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  hai_f64_bits d;
  d.value = x;
  const uint32_t sign = (uint32_t)(d.bits >> 63) << (fraction_bits + exponent_bits);
  const uint32_t infinity = ((1U << exponent_bits) - 1U) << fraction_bits;
  const int exponent = (int)((d.bits >> 52) & 0x7ffU);
  const uint64_t fraction = d.bits & 0xfffffffffffffULL;
  if (exponent == 0x7ff) return fraction != 0 ? (infinity | (1U << (fraction_bits - 1))) : (sign | infinity);
  if (exponent == 0) return sign; /* f64 subnormals are far below half of the least f16 or bf16 */
  int target = exponent - 1023 + bias;
  const uint64_t significand = fraction | 0x10000000000000ULL;
  int shift = 52 - fraction_bits;
  if (target < 1) {
    shift += 1 - target;
    target = 0;
    if (shift > 54) return sign;
  }
  uint64_t rounded = significand >> shift;
  const uint64_t rest = significand & ((1ULL << shift) - 1ULL);
  const uint64_t half = 1ULL << (shift - 1);
  if (rest > half || (rest == half && (rounded & 1U))) ++rounded;
  /* A carry out of the fraction moves into the exponent by itself; the hidden bit is added for normal numbers. */
  const uint64_t base = target > 0 ? (uint64_t)(target - 1) << fraction_bits : 0;
  const uint64_t bits = base + rounded;
  return sign | (bits >= infinity ? infinity : (uint32_t)bits);
}

static inline uint16_t hai_f64_to_f16(double x) { return (uint16_t)hai_narrow_f64(x, 10, 5); }
static inline uint16_t hai_f64_to_bf16(double x) { return (uint16_t)hai_narrow_f64(x, 7, 8); }

#endif /* HAI_TYPES_FLOAT_FORMAT_H_ */

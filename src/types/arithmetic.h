/* The exact integer arithmetic of HAI, in plain C: what docs/reference/arithmetic.md states, every reference, CPU
 * kernel and simulator uses.
 *
 * real = scale * (q - zero_point). All functions are pure, need round-to-nearest-even and IEEE f32/f64 without
 * contraction
 * (-ffp-contract=off), and give the same bits on every machine. They are `static` so that no object file of one
 * instruction set exports them. Multipliers are made in f64 and rounded once to f32. A multiplier is usable when it is
 * finite and in [2^-40, 2^8].
 */
#ifndef HAI_TYPES_ARITHMETIC_H_
#define HAI_TYPES_ARITHMETIC_H_

#include <stdint.h>

#define HAI_MULTIPLIER_MIN 9.094947017729282379150390625e-13 /* 2^-40 */
#define HAI_MULTIPLIER_MAX 256.0                             /* 2^8 */

/* Bounds of the stored integer, and the zero point of the output: [-128, 127] for i8, [0, 255] for u8, narrower when an
 * activation clamps. */
typedef struct {
  int32_t zero_point;
  int32_t lo;
  int32_t hi;
} hai_output_range;

/* Round half to even of |x| <= 2^22, without libm: adding 1.5 * 2^23 leaves no fraction bits, and the addition rounds.
 */
static inline float hai_round_half_even_f32(float x) {
  const float magic = 12582912.0F;
  return (x + magic) - magic;
}

/* The same for |x| <= 2^51. */
static inline double hai_round_half_even_f64(double x) {
  const double magic = 6755399441055744.0;
  return (x + magic) - magic;
}

/* Clamp that sends NaN to lo. */
static inline float hai_clamp_f32(float x, float lo, float hi) {
  const float low = x > lo ? x : lo;
  return low < hi ? low : hi;
}

static inline double hai_clamp_f64(double x, double lo, double hi) {
  const double low = x > lo ? x : lo;
  return low < hi ? low : hi;
}

/* Real value in units of the output scale -> stored integer. Clamps before it converts: x86 and Arm differ on overflow.
 */
static inline int32_t hai_store_f32(float x, hai_output_range out) {
  const float clamped = hai_clamp_f32(x, (float)(out.lo - out.zero_point), (float)(out.hi - out.zero_point));
  return out.zero_point + (int32_t)hai_round_half_even_f32(clamped);
}

static inline int32_t hai_store_f64(double x, hai_output_range out) {
  const double clamped = hai_clamp_f64(x, (double)(out.lo - out.zero_point), (double)(out.hi - out.zero_point));
  return out.zero_point + (int32_t)hai_round_half_even_f64(clamped);
}

/* Requantize: 32-bit accumulator -> 8-bit (or narrower) output. */
static inline int32_t hai_requantize_i32(int32_t acc, float multiplier, hai_output_range out) {
  return hai_store_f32((float)acc * multiplier, out);
}

/* Requantize: 64-bit accumulator (|acc| < 2^53) -> 16-bit output, through f64. */
static inline int32_t hai_requantize_i64(int64_t acc, float multiplier, hai_output_range out) {
  return hai_store_f64((double)acc * (double)multiplier, out);
}

/* M of a convolution or matrix product, of an element-wise product, ... : s_x * s_w / s_y. */
static inline float hai_multiplier_product(float s_x, float s_w, float s_y) {
  return (float)((double)s_x * (double)s_w / (double)s_y);
}

/* M of a rescale, of one operand of an addition, of a sum: s_x / s_y. */
static inline float hai_multiplier_ratio(float s_x, float s_y) { return (float)((double)s_x / (double)s_y); }

/* M of an average over `count` elements: s_x / (s_y * count). */
static inline float hai_multiplier_average(float s_x, float s_y, int64_t count) {
  return (float)((double)s_x / ((double)s_y * (double)count));
}

/* 1 when a multiplier may be used. */
static inline int hai_multiplier_usable(float multiplier) {
  return (double)multiplier >= HAI_MULTIPLIER_MIN && (double)multiplier <= HAI_MULTIPLIER_MAX;
}

/* Element-wise addition and subtraction: two products and one sum, each rounded to f32, in this order. */
static inline int32_t hai_add(int32_t a, int32_t b, int32_t zero_a, int32_t zero_b, float m_a, float m_b,
                              hai_output_range out) {
  const float left = (float)(a - zero_a) * m_a;
  const float right = (float)(b - zero_b) * m_b;
  return hai_store_f32(left + right, out);
}

static inline int32_t hai_sub(int32_t a, int32_t b, int32_t zero_a, int32_t zero_b, float m_a, float m_b,
                              hai_output_range out) {
  const float left = (float)(a - zero_a) * m_a;
  const float right = (float)(b - zero_b) * m_b;
  return hai_store_f32(left - right, out);
}

/* Element-wise product: exact in i32, then requantized. */
static inline int32_t hai_mul(int32_t a, int32_t b, int32_t zero_a, int32_t zero_b, float multiplier,
                              hai_output_range out) {
  return hai_requantize_i32((a - zero_a) * (b - zero_b), multiplier, out);
}

/* Rescale: the same real value with another scale and zero point (concat, pad, min, max, pooling across scales). */
static inline int32_t hai_rescale(int32_t q, int32_t zero_x, float multiplier, hai_output_range out) {
  return hai_requantize_i32(q - zero_x, multiplier, out);
}

/* The same when x or y is wider than 8 bits: through f64, like every single product of wide integers. (Additions stay
 * in f32 at every width: differences of 17 bits are exact there.) Differences and their products are exact in f64, to
 * which vectors convert 32 bits but not 64. */
static inline int32_t hai_rescale_wide(int32_t q, int32_t zero_x, float multiplier, hai_output_range out) {
  return hai_store_f64(((double)q - (double)zero_x) * (double)multiplier, out);
}

static inline int32_t hai_mul_wide(int32_t a, int32_t b, int32_t zero_a, int32_t zero_b, float multiplier,
                                   hai_output_range out) {
  return hai_store_f64((double)(a - zero_a) * (double)(b - zero_b) * (double)multiplier, out);
}

/* f32 -> stored integer: IEEE division, NaN becomes the least value. */
static inline int32_t hai_quantize(float x, float scale, hai_output_range out) { return hai_store_f32(x / scale, out); }

/* Stored integer -> f32. */
static inline float hai_dequantize(int32_t q, float scale, int32_t zero_point) {
  return (float)(q - zero_point) * scale;
}

/* Softmax: exponentials of (q - max) <= 0 as integers of 23 bits, from a table of 256 entries made by
 * hai_softmax_table_entry (exact_math.h); numerator / sum in f32: one division a row, one product and one store an
 * element. `inverse` = hai_softmax_inverse(sum, s_y). */
#define HAI_SOFTMAX_ONE 8388608 /* 2^23: exp(0) */
static inline float hai_softmax_inverse(int64_t sum, float s_y) { return (float)(1.0 / ((double)sum * (double)s_y)); }
static inline int32_t hai_softmax_output(int32_t numerator, float inverse, hai_output_range out) {
  return hai_store_f32((float)numerator * inverse, out);
}

/* Layer normalization of rows of n <= 65536 integers, from their exact sums; zero points cancel. With S1 the sum and S2
 * the sum of squares of a row, its variance is (s_x / n)^2 * V and element i is s_x / n * d_i away from its mean:
 *   V = n * S2 - S1^2   (below 2^63)        d_i = n * q_i - S1   (exact in f32 for 8-bit x, rounded once for i16)
 *   r = hai_layer_norm_inverse(V, e)        once a row, f64 rounded to f32 (exact_math.h)
 *   q_i = store((float(d_i) * r) * gain + offset)      each step rounded to f32
 * `gain` and `offset` of a channel are its scale and bias in units of the output: hai_layer_norm_parameter. */
#define HAI_LAYER_NORM_MAX 65536
static inline int64_t hai_layer_norm_variance(int64_t n, int64_t sum, int64_t squares) {
  return n * squares - sum * sum;
}
static inline float hai_layer_norm_parameter(float value, float s_y) { return (float)((double)value / (double)s_y); }
static inline int32_t hai_layer_norm_output(float distance, float inverse, float gain, float offset,
                                            hai_output_range out) {
  const float unit = distance * inverse;
  const float scaled = unit * gain;
  return hai_store_f32(scaled + offset, out);
}

/* Linear resize: two weights an axis in 1/2048, products of two axes in 2^-22; M = s_x / (s_y * 2^22). */
#define HAI_RESIZE_ONE 2048

#endif /* HAI_TYPES_ARITHMETIC_H_ */

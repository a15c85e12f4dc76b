/* Elementary functions in f32 for kernels: branch-free, so that compilers vectorise loops over them.
 *
 * Bit tricks and polynomials only (fitted by weighted least squares on Chebyshev nodes, iterated towards minimax), with
 * explicit fused multiply-add where the instruction set has it. Largest errors over the useful range, measured by
 * ops/unary/unary_test.cpp: at most 4 ulp of the result, or absolute where the comment says so. NaN stays NaN. Floats
 * are not bit-equal between instruction sets; integers never come through here.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_FLOAT_MATH_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_FLOAT_MATH_H_

#include <stdint.h>

/* In front of a loop whose iterations touch only their own elements, so that x == y (in place) still vectorises. */
#if defined(__clang__)
#define HAI_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define HAI_INDEPENDENT _Pragma("GCC ivdep")
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define HAI_FMA_F32(a, b, c) __builtin_fmaf(a, b, c)
#else
#define HAI_FMA_F32(a, b, c) ((a) * (b) + (c))
#endif

static inline int32_t hai_f32_to_bits(float x) {
  int32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float hai_f32_from_bits(int32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

static inline float hai_f32_abs(float x) { return hai_f32_from_bits(hai_f32_to_bits(x) & 0x7fffffff); }

static inline float hai_f32_with_sign(float magnitude, float sign) {
  return hai_f32_from_bits((hai_f32_to_bits(magnitude) & 0x7fffffff) | (hai_f32_to_bits(sign) & INT32_MIN));
}

static inline float hai_f32_sqrt(float x) { return __builtin_sqrtf(x); }

/* [0, 1], NaN stays. */
static inline float hai_f32_clamp_unit(float x) {
  const float low = x < 0.0F ? 0.0F : x;
  return low > 1.0F ? 1.0F : low;
}

static inline float hai_f32_round(float x) {
  const float positive = hai_f32_abs(x);
  const float rounded = hai_f32_with_sign((positive + 8388608.0F) - 8388608.0F, x);
  return positive < 8388608.0F ? rounded : x;
}

static inline float hai_f32_floor(float x) {
  const float rounded = hai_f32_round(x);
  return hai_f32_with_sign(rounded > x ? rounded - 1.0F : rounded, x);
}

static inline float hai_f32_ceil(float x) {
  const float rounded = hai_f32_round(x);
  return hai_f32_with_sign(rounded < x ? rounded + 1.0F : rounded, x);
}

/* exp(x) - 1 = 2^n (1 + p) - 1, |x| in [-104, 89]. */
typedef struct {
  int32_t n;
  float p;
} hai_f32_exp_parts;

static inline hai_f32_exp_parts hai_f32_exp_reduce(float x) {
  const float low = x < -104.0F ? -104.0F : x;
  const float bounded = low > 89.0F ? 89.0F : low;
  const float magic = 12582912.0F; /* 1.5 * 2^23: its low bits hold the rounded sum */
  const float shifted = HAI_FMA_F32(bounded, 1.44269502F, magic);
  const float n = shifted - magic;
  float r = HAI_FMA_F32(n, -0.693359375F, bounded);
  r = HAI_FMA_F32(n, 2.12194442e-4F, r);
  float q = 1.395043008e-3F;
  q = HAI_FMA_F32(q, r, 8.368886927e-3F);
  q = HAI_FMA_F32(q, r, 4.166620666e-2F);
  q = HAI_FMA_F32(q, r, 1.666651885e-1F);
  q = HAI_FMA_F32(q, r, 5.000000095e-1F);
  const hai_f32_exp_parts parts = {hai_f32_to_bits(shifted) - hai_f32_to_bits(magic), HAI_FMA_F32(q * r, r, r)};
  return parts;
}

static inline float hai_f32_power_of_two(int32_t n) { return hai_f32_from_bits((int32_t)((uint32_t)(n + 127) << 23)); }

static inline float hai_f32_exp(float x) {
  const hai_f32_exp_parts parts = hai_f32_exp_reduce(x);
  const int32_t half = parts.n >> 1; /* two steps reach infinity and the subnormals */
  const float value = (1.0F + parts.p) * hai_f32_power_of_two(half) * hai_f32_power_of_two(parts.n - half);
  return x != x ? x : value;
}

static inline float hai_f32_expm1(float x) {
  const hai_f32_exp_parts parts = hai_f32_exp_reduce(x);
  const int32_t half = parts.n >> 1;
  const float a = hai_f32_power_of_two(half);
  const float b = hai_f32_power_of_two(parts.n - half);
  const float value = a * parts.p * b + (a * b - 1.0F);
  return x != x ? x : value;
}

static inline float hai_f32_sigmoid(float x) { return 1.0F / (1.0F + hai_f32_exp(-x)); }

/* x / (1 + exp(-x)); exp is bounded below overflow so that a large negative x gives 0 and not -inf * 0. */
static inline float hai_f32_silu(float x) {
  const float bounded = x < -88.0F ? -88.0F : x;
  const float value = x / (1.0F + hai_f32_exp(-bounded));
  return x < -104.0F ? -0.0F : value;
}

static inline float hai_f32_tanh(float x) {
  const float positive = hai_f32_abs(x);
  const float square = x * x;
  float p = -5.660582429e-3F;
  p = HAI_FMA_F32(p, square, 2.060180073e-2F);
  p = HAI_FMA_F32(p, square, -5.372915774e-2F);
  p = HAI_FMA_F32(p, square, 1.333132795e-1F);
  p = HAI_FMA_F32(p, square, -3.333327827e-1F);
  const float small = HAI_FMA_F32(p * square, x, x);
  const float large = hai_f32_with_sign(1.0F - 2.0F / (hai_f32_exp(2.0F * positive) + 1.0F), x);
  const float value = positive < 0.625F ? small : large;
  return x != x ? x : value;
}

/* Natural logarithm; subnormal arguments count as 0. */
static inline float hai_f32_log(float x) {
  const int32_t bits = hai_f32_to_bits(x);
  /* m in [sqrt(1/2), sqrt(2)): 0x3f3504f3 is sqrt(1/2) */
  const int32_t e = (int32_t)((uint32_t)bits - 0x3f3504f3U) >> 23;
  const float m = hai_f32_from_bits((int32_t)((uint32_t)bits - ((uint32_t)e << 23)));
  const float f = m - 1.0F;
  float p = 8.682498547e-2F;
  p = HAI_FMA_F32(p, f, -1.42620745e-1F);
  p = HAI_FMA_F32(p, f, 1.4918791e-1F);
  p = HAI_FMA_F32(p, f, -1.657845939e-1F);
  p = HAI_FMA_F32(p, f, 1.996274364e-1F);
  p = HAI_FMA_F32(p, f, -2.500130284e-1F);
  p = HAI_FMA_F32(p, f, 3.333391954e-1F);
  const float square = f * f;
  const float n = (float)e;
  float low = HAI_FMA_F32(p * f, square, n * -2.12194442e-4F);
  low = HAI_FMA_F32(square, -0.5F, low);
  const float value = HAI_FMA_F32(n, 0.693359375F, f + low);
  const float infinity = hai_f32_from_bits(0x7f800000);
  const float at_edges = x < 1.17549435e-38F ? (x < 0.0F ? hai_f32_from_bits(0x7fc00000) : -infinity) : value;
  return x < infinity ? at_edges : x;
}

/* log(1 + u) for u >= 0: exact quotient correction for the bits that 1 + u loses. */
static inline float hai_f32_log1p_positive(float u) {
  const float w = 1.0F + u;
  const float lost = w - 1.0F;
  const float ratio = lost == 0.0F ? 1.0F : u / lost;
  const float log = lost == 0.0F ? u : hai_f32_log(w);
  return u < 1e30F ? log * ratio : log;
}

static inline float hai_f32_softplus(float x) {
  const float positive = x < 0.0F ? 0.0F : x;
  return positive + hai_f32_log1p_positive(hai_f32_exp(-hai_f32_abs(x)));
}

/* x tanh(softplus(x)) = x n / (n + 2), n = e (e + 2), e = exp(x). */
static inline float hai_f32_mish(float x) {
  const float bounded = x > 30.0F ? 30.0F : x;
  const float e = hai_f32_exp(bounded);
  const float n = e * (e + 2.0F);
  const float value = x > 30.0F ? x : x * (n / (n + 2.0F));
  return x < -104.0F ? -0.0F : value;
}

static inline float hai_f32_erf(float x) {
  const float positive = hai_f32_abs(x);
  const float square = x * x;
  float p = 7.853773115e-5F;
  p = HAI_FMA_F32(p, square, -8.010166808e-4F);
  p = HAI_FMA_F32(p, square, 5.188324618e-3F);
  p = HAI_FMA_F32(p, square, -2.685381031e-2F);
  p = HAI_FMA_F32(p, square, 1.128358511e-1F);
  p = HAI_FMA_F32(p, square, -3.761262582e-1F);
  p = HAI_FMA_F32(p, square, 1.128379166F);
  const float u = (positive > 4.0F ? 4.0F : positive) - 2.5F;
  float q = 2.522030904e-7F; /* log(erfc(x)) around 2.5 */
  q = HAI_FMA_F32(q, u, -2.028305027e-5F);
  q = HAI_FMA_F32(q, u, 6.477304958e-5F);
  q = HAI_FMA_F32(q, u, -4.282075319e-4F);
  q = HAI_FMA_F32(q, u, 2.167089435e-3F);
  q = HAI_FMA_F32(q, u, -1.085424806e-2F);
  q = HAI_FMA_F32(q, u, -9.438923318e-1F);
  q = HAI_FMA_F32(q, u, -5.35268069F);
  q = HAI_FMA_F32(q, u, -7.8068153F);
  const float large = hai_f32_with_sign(1.0F - hai_f32_exp(q), x);
  const float value = positive < 1.0F ? x * p : large;
  return x != x ? x : value;
}

/* Absolute error within 2 ulp of |x|. */
static inline float hai_f32_gelu(float x) {
  const float value = 0.5F * x * (1.0F + hai_f32_erf(x * 0.707106769F));
  return x < -30.0F ? -0.0F : value;
}

/* Derivatives of silu, gelu and mish (types/unary_gradient_table.h); 0 where exp underflows, not inf * 0. */
static inline float hai_f32_silu_gradient(float x) {
  const float s = hai_f32_sigmoid(x);
  const float value = s * HAI_FMA_F32(x, 1.0F - s, 1.0F);
  return x < -88.0F ? 0.0F : value;
}

static inline float hai_f32_gelu_gradient(float x) {
  const float density = 0.398942292F * hai_f32_exp(-0.5F * x * x);
  const float value = 0.5F * (1.0F + hai_f32_erf(x * 0.707106769F)) + x * density;
  return hai_f32_abs(x) > 15.0F ? (x > 0.0F ? 1.0F : 0.0F) : value;
}

/* With e = exp(x) and n = e (e + 2): tanh(softplus(x)) = n / (n + 2), and 1 - tanh^2 = 4 (n + 1) / (n + 2)^2. */
static inline float hai_f32_mish_gradient(float x) {
  const float bounded = x > 30.0F ? 30.0F : x;
  const float e = hai_f32_exp(bounded);
  const float n = e * (e + 2.0F);
  const float inverse = 1.0F / (n + 2.0F);
  const float value = n * inverse + bounded * (e / (1.0F + e)) * (4.0F * (n + 1.0F) * inverse * inverse);
  return x > 30.0F ? 1.0F : (x < -88.0F ? 0.0F : value);
}

/* sin(x + quarter * pi/2). The reduction runs in f64: absolute error 2^-23 up to |x| = 2^22, and growing beyond. */
static inline float hai_f32_sin_quarter(float x, int32_t quarter) {
  const double magic = 6755399441055744.0;
  const double positive = (double)x;
  const double shifted = positive * 0.63661977236758134 + magic;
  const double n = shifted - magic;
  const float r = (float)(positive - n * 1.5707963267948966 - n * 6.123233995736766e-17);
  int64_t shifted_bits;
  __builtin_memcpy(&shifted_bits, &shifted, sizeof shifted_bits);
  const int32_t turn = (int32_t)shifted_bits + quarter;
  const float square = r * r;
  float s = 2.75573192e-6F;
  s = HAI_FMA_F32(s, square, -1.98412698e-4F);
  s = HAI_FMA_F32(s, square, 8.33333333e-3F);
  s = HAI_FMA_F32(s, square, -1.66666667e-1F);
  s = HAI_FMA_F32(s * square, r, r);
  float c = -2.75573192e-7F;
  c = HAI_FMA_F32(c, square, 2.48015873e-5F);
  c = HAI_FMA_F32(c, square, -1.38888889e-3F);
  c = HAI_FMA_F32(c, square, 4.16666667e-2F);
  c = HAI_FMA_F32(c, square, -0.5F);
  c = HAI_FMA_F32(c, square, 1.0F);
  const float value = (turn & 1) ? c : s;
  const float bounded = value > 1.0F ? 1.0F : (value < -1.0F ? -1.0F : value);
  return (turn & 2) ? -bounded : bounded;
}

static inline float hai_f32_sin(float x) { return hai_f32_sin_quarter(x, 0); }
static inline float hai_f32_cos(float x) { return hai_f32_sin_quarter(x, 1); }

/* x^y through f64 logarithm and exponential of 40 bits; special cases as in IEEE 754. Not vectorised. */
static inline double hai_f64_log_positive(double x) {
  int64_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  const int64_t e = (bits - 0x3fe6a09e667f3bcd) >> 52; /* m in [sqrt(1/2), sqrt(2)) */
  const int64_t m_bits = bits - (int64_t)((uint64_t)e << 52);
  double m;
  __builtin_memcpy(&m, &m_bits, sizeof m);
  const double s = (m - 1.0) / (m + 1.0);
  const double square = s * s;
  double p = 2.0 / 15.0;
  p = p * square + 2.0 / 13.0;
  p = p * square + 2.0 / 11.0;
  p = p * square + 2.0 / 9.0;
  p = p * square + 2.0 / 7.0;
  p = p * square + 2.0 / 5.0;
  p = p * square + 2.0 / 3.0;
  return (double)e * 0.69314718055994531 + (2.0 * s + s * square * p);
}

static inline double hai_f64_exp_bounded(double x) { /* |x| <= 200 */
  const double magic = 6755399441055744.0;
  const double shifted = x * 1.4426950408889634 + magic;
  const double n = shifted - magic;
  const double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r * r + r + 1.0;
  int64_t bits;
  __builtin_memcpy(&bits, &p, sizeof bits);
  bits += (int64_t)((uint64_t)(int64_t)n << 52);
  __builtin_memcpy(&p, &bits, sizeof p);
  return p;
}

static inline float hai_f32_pow(float x, float y) {
  const float infinity = hai_f32_from_bits(0x7f800000);
  if (y == 0.0F || x == 1.0F) return 1.0F;
  if (x != x || y != y) return x + y;
  const float whole = hai_f32_round(y);
  const int is_whole = whole == y;
  const int is_odd = is_whole && hai_f32_abs(y) < 16777216.0F && hai_f32_round(y * 0.5F) * 2.0F != y;
  const float sign = is_odd && hai_f32_to_bits(x) < 0 ? -1.0F : 1.0F;
  const float positive = hai_f32_abs(x);
  if (positive == 1.0F) return x < 0.0F && !is_whole ? hai_f32_from_bits(0x7fc00000) : sign;
  if (hai_f32_abs(y) == infinity) return (positive > 1.0F) == (y > 0.0F) ? infinity : 0.0F;
  if (positive == 0.0F || positive == infinity) return sign * ((positive == 0.0F) == (y > 0.0F) ? 0.0F : infinity);
  if (x < 0.0F && !is_whole) return hai_f32_from_bits(0x7fc00000);
  const double power = (double)y * hai_f64_log_positive((double)positive);
  const double bounded = power < -200.0 ? -200.0 : (power > 200.0 ? 200.0 : power);
  return sign * (float)hai_f64_exp_bounded(bounded);
}

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_FLOAT_MATH_H_ */

/* The exact arithmetic of winograd_conv2d: F(2x2, 3x3) and F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", CVPR 2016), and in integers tap-wise quantization with powers of two (Andri et al.,
 * "Going Further With Winograd Convolutions", MICRO 2022). docs/reference/arithmetic.md, "Winograd", states it whole.
 * Same rules as arithmetic.h: pure, static, the same bits on every machine.
 *
 * A tile gives `tile` x `tile` outputs (2 or 4) from side x side inputs, side = tile + 2; its taps are the side * side
 * positions after the transform, row by row. Of 8-bit x, with d = q - zero_point (0 in the padding):
 *   v = B^T d B                                       |v| <= 25500: 16 bits hold every step
 *   V[t] = clamp(round_half_even(v[t] / 2^input_shifts[t]), -128, 127)
 *   M[t] = sum over c of U[t][c] * V[t][c]            i32, exact
 *   acc = A^T (M[t] * 2^e[t]) A                       i64 (or f64: |acc| < 2^53 is proved beforehand)
 * with e[t] = input_shifts[t] + weight_shifts[t] - base, base the least of these sums; then
 *   real = s_x * s_u * 2^base * (acc + bias)
 * Of f16 x, with stored U of f16: v = B^T d B in f32, V[t] = f16(v[t]), M[t] the f32 sum of U V over ascending c from 0
 * (each product is exact), y = A^T M A + bias in f32; what follows is f16's epilogue (types/half.h).
 * The transforms are macros of one expression an output, so that every type has the same operations in the same order:
 * columns first (each column of the tile is transformed), then rows. Integers are exact in any order; of f32 this is
 * the definition, each operation rounded, none fused.
 */
#ifndef HAI_TYPES_WINOGRAD_H_
#define HAI_TYPES_WINOGRAD_H_

#include <stdint.h>

#include "types/arithmetic.h"
#include "types/float_format.h"

#define HAI_WINOGRAD_MAX_SIDE 6
#define HAI_WINOGRAD_MAX_TAPS 36
#define HAI_WINOGRAD_MAX_INPUT_SHIFT 15
#define HAI_WINOGRAD_MIN_WEIGHT_SHIFT (-8)
#define HAI_WINOGRAD_MAX_WEIGHT_SHIFT 15
#define HAI_WINOGRAD_MAX_TAP_PRODUCT 16384        /* |U * V| of i8 */
#define HAI_WINOGRAD_SUM_LIMIT 9007199254740992.0 /* 2^53: |acc| + |bias| stays below it */

/* --- one axis: B^T x, A^T x, G x --- */
/* T: the type of results; operands are promoted as C does. x and y are any arrays or lvalues. */
#define HAI_WINOGRAD_INPUT_2(T, x0, x1, x2, x3, y0, y1, y2, y3) \
  do {                                                          \
    (y0) = (T)((x0) - (x2));                                    \
    (y1) = (T)((x1) + (x2));                                    \
    (y2) = (T)((x2) - (x1));                                    \
    (y3) = (T)((x1) - (x3));                                    \
  } while (0)

#define HAI_WINOGRAD_INPUT_4(T, x0, x1, x2, x3, x4, x5, y0, y1, y2, y3, y4, y5) \
  do {                                                                          \
    (y0) = (T)(((T)4 * (x0) - (T)5 * (x2)) + (x4));                             \
    (y1) = (T)(((x4) - (T)4 * (x2)) + ((x3) - (T)4 * (x1)));                    \
    (y2) = (T)(((x4) - (T)4 * (x2)) - ((x3) - (T)4 * (x1)));                    \
    (y3) = (T)(((x4) - (x2)) + (T)2 * ((x3) - (x1)));                           \
    (y4) = (T)(((x4) - (x2)) - (T)2 * ((x3) - (x1)));                           \
    (y5) = (T)(((T)4 * (x1) - (T)5 * (x3)) + (x5));                             \
  } while (0)

#define HAI_WINOGRAD_OUTPUT_2(T, x0, x1, x2, x3, y0, y1) \
  do {                                                   \
    (y0) = (T)(((x0) + (x1)) + (x2));                    \
    (y1) = (T)(((x1) - (x2)) - (x3));                    \
  } while (0)

#define HAI_WINOGRAD_OUTPUT_4(T, x0, x1, x2, x3, x4, x5, y0, y1, y2, y3) \
  do {                                                                   \
    (y0) = (T)(((x0) + ((x1) + (x2))) + ((x3) + (x4)));                  \
    (y1) = (T)(((x1) - (x2)) + (T)2 * ((x3) - (x4)));                    \
    (y2) = (T)(((x1) + (x2)) + (T)4 * ((x3) + (x4)));                    \
    (y3) = (T)((((x1) - (x2)) + (T)8 * ((x3) - (x4))) + (x5));           \
  } while (0)

/* Weights w0..w2 to the `side` taps of one axis, in f64. */
static inline void hai_winograd_weight_axis(int tile, double w0, double w1, double w2, double y[]) {
  if (tile == 2) {
    y[0] = w0;
    y[1] = (w0 + w1 + w2) * 0.5;
    y[2] = (w0 - w1 + w2) * 0.5;
    y[3] = w2;
    return;
  }
  y[0] = w0 * 0.25;
  y[1] = -(w0 + w1 + w2) / 6.0;
  y[2] = -(w0 - w1 + w2) / 6.0;
  y[3] = w0 / 24.0 + w1 / 12.0 + w2 / 6.0;
  y[4] = w0 / 24.0 - w1 / 12.0 + w2 / 6.0;
  y[5] = w2;
}

/* --- both axes of one tile and channel --- */
/* u = G w G^T: w[3][3], u[side][side]. */
static inline void hai_winograd_weights(int tile, const double w[], double u[]) {
  const int side = tile + 2;
  double columns[3 * HAI_WINOGRAD_MAX_SIDE];
  for (int j = 0; j < 3; ++j) {
    hai_winograd_weight_axis(tile, w[j], w[3 + j], w[6 + j], columns + j * HAI_WINOGRAD_MAX_SIDE);
  }
  for (int i = 0; i < side; ++i) {
    hai_winograd_weight_axis(tile, columns[i], columns[HAI_WINOGRAD_MAX_SIDE + i],
                             columns[2 * HAI_WINOGRAD_MAX_SIDE + i], u + i * side);
  }
}

/* v = B^T d B, in place over d[side][side], and y = A^T m A, m[side][side] to y[tile][tile] (m is overwritten); for
 * integers of 32 and 64 bits and for f32. */
#define HAI_WINOGRAD_TILE_FUNCTIONS(T, suffix)                                                                  \
  static inline void hai_winograd_input_##suffix(int tile, T d[]) {                                             \
    const int side = tile + 2;                                                                                  \
    for (int axis = 0; axis < 2; ++axis) {                                                                      \
      const int next = axis == 0 ? side : 1;                                                                    \
      for (int i = 0; i < side; ++i) {                                                                          \
        T* x = d + (axis == 0 ? i : i * side);                                                                  \
        const T x0 = x[0], x1 = x[next], x2 = x[2 * next], x3 = x[3 * next];                                    \
        if (tile == 2) {                                                                                        \
          HAI_WINOGRAD_INPUT_2(T, x0, x1, x2, x3, x[0], x[next], x[2 * next], x[3 * next]);                     \
        } else {                                                                                                \
          const T x4 = x[4 * next], x5 = x[5 * next];                                                           \
          HAI_WINOGRAD_INPUT_4(T, x0, x1, x2, x3, x4, x5, x[0], x[next], x[2 * next], x[3 * next], x[4 * next], \
                               x[5 * next]);                                                                    \
        }                                                                                                       \
      }                                                                                                         \
    }                                                                                                           \
  }                                                                                                             \
  static inline void hai_winograd_output_##suffix(int tile, T m[], T y[]) {                                     \
    const int side = tile + 2;                                                                                  \
    for (int i = 0; i < side; ++i) {                                                                            \
      T* x = m + i;                                                                                             \
      const T x0 = x[0], x1 = x[side], x2 = x[2 * side], x3 = x[3 * side];                                      \
      if (tile == 2) {                                                                                          \
        HAI_WINOGRAD_OUTPUT_2(T, x0, x1, x2, x3, x[0], x[side]);                                                \
      } else {                                                                                                  \
        const T x4 = x[4 * side], x5 = x[5 * side];                                                             \
        HAI_WINOGRAD_OUTPUT_4(T, x0, x1, x2, x3, x4, x5, x[0], x[side], x[2 * side], x[3 * side]);              \
      }                                                                                                         \
    }                                                                                                           \
    for (int i = 0; i < tile; ++i) {                                                                            \
      const T* x = m + i * side;                                                                                \
      T* row = y + i * tile;                                                                                    \
      if (tile == 2) {                                                                                          \
        HAI_WINOGRAD_OUTPUT_2(T, x[0], x[1], x[2], x[3], row[0], row[1]);                                       \
      } else {                                                                                                  \
        HAI_WINOGRAD_OUTPUT_4(T, x[0], x[1], x[2], x[3], x[4], x[5], row[0], row[1], row[2], row[3]);           \
      }                                                                                                         \
    }                                                                                                           \
  }

HAI_WINOGRAD_TILE_FUNCTIONS(int32_t, s32)
HAI_WINOGRAD_TILE_FUNCTIONS(int64_t, s64)
HAI_WINOGRAD_TILE_FUNCTIONS(float, f32)
HAI_WINOGRAD_TILE_FUNCTIONS(double, f64)

/* --- f16 --- */
/* V[t] of v[t]: the nearest f16, half to even, as f32. Beyond 65504 an infinity, NaN stays NaN; zeros lose their sign,
 * which no sum shows that starts from 0. Between 2^e and 2^(e + 1) f16 has steps of 2^(e - 10), below 2^-14 of 2^-24: a
 * number whose last place is a step is added and taken away again. 65536 becomes an infinity by its exponent. */
static inline float hai_winograd_round_f16(float v) {
  hai_f32_bits power;
  power.value = v;
  power.bits &= 0x7f800000U;
  const float least = power.value < 6.103515625e-5F ? 6.103515625e-5F : power.value; /* 2^-14 */
  const float magic = (least > 65536.0F ? 65536.0F : least) * 12288.0F;              /* 1.5 * 2^13 */
  const float rounded = (v + magic) - magic;
  return rounded * 5.1922968585348276e33F * 1.9259299443872359e-34F; /* 2^112, 2^-112 */
}

/* --- integers --- */
/* V[t] of v[t]: |v| < 2^30, 0 <= shift <= 15. Half to even by the parity of the quotient: to v are added half a step
 * less one, and one more where the quotient is odd, before bits are dropped. */
static inline int32_t hai_winograd_requantize(int32_t v, int32_t shift) {
  const int32_t odd = (v >> shift) & 1;
  const int32_t half = (int32_t)((UINT32_C(1) << shift) >> 1);
  const int32_t q = (v + half - (shift > 0 ? 1 - odd : 0)) >> shift;
  return q < -128 ? -128 : q > 127 ? 127 : q;
}

/* e[t] and their base; returns the base. `taps` is 16 or 36; shifts are within their bounds, so 0 <= e <= 38. */
static inline int32_t hai_winograd_exponents(int32_t taps, const int64_t input_shifts[], const int64_t weight_shifts[],
                                             int32_t e[]) {
  int32_t base = (int32_t)(input_shifts[0] + weight_shifts[0]);
  for (int32_t t = 0; t < taps; ++t) {
    e[t] = (int32_t)(input_shifts[t] + weight_shifts[t]);
    base = e[t] < base ? e[t] : base;
  }
  for (int32_t t = 0; t < taps; ++t) e[t] -= base;
  return base;
}

/* 2^exponent, exact; -1022 <= exponent <= 1023. */
static inline double hai_winograd_power(int32_t exponent) {
  double out = 1.0;
  for (; exponent > 0; --exponent) out *= 2.0;
  for (; exponent < 0; ++exponent) out *= 0.5;
  return out;
}

/* The largest |acc| of any output of a tile, where |M[t]| <= largest[t]. Exact below 2^53; every value inside the
 * output transform stays below it too. */
static inline double hai_winograd_sum_bound(int tile, const double largest[], const int32_t e[]) {
  static const double kOutput2[2][4] = {{1, 1, 1, 0}, {0, 1, 1, 1}};
  static const double kOutput4[4][6] = {{1, 1, 1, 1, 1, 0}, {0, 1, 1, 2, 2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, 1, 8, 8, 1}};
  const int side = tile + 2;
  double bound = 0.0;
  for (int i = 0; i < tile; ++i) {
    for (int j = 0; j < tile; ++j) {
      double sum = 0.0;
      for (int t = 0; t < side * side; ++t) {
        const double row = tile == 2 ? kOutput2[i][t / side] : kOutput4[i][t / side];
        const double column = tile == 2 ? kOutput2[j][t % side] : kOutput4[j][t % side];
        sum += row * column * largest[t] * hai_winograd_power(e[t]);
      }
      bound = sum > bound ? sum : bound;
    }
  }
  return bound;
}

/* The scale of weights for hai_multiplier_product, and of bias together with s_x: s_u * 2^base, exact unless it leaves
 * f32, which makes the multiplier unusable. */
static inline float hai_winograd_weight_scale(float s_u, int32_t base) {
  return (float)((double)s_u * hai_winograd_power(base));
}

/* acc + bias as the f32 that is multiplied: |sum| < 2^53, so f64 has it whole, and it is rounded once. The results are
 * those of hai_requantize_i32 where 32 bits hold the sum. */
static inline float hai_winograd_real_sum(int64_t sum) { return (float)(double)sum; }

static inline int32_t hai_winograd_store(int64_t sum, float multiplier, hai_output_range out) {
  return hai_store_f32(hai_winograd_real_sum(sum) * multiplier, out);
}

#endif /* HAI_TYPES_WINOGRAD_H_ */

/* winograd_input_s16, winograd_input_f32, winograd_output_s32, winograd_output_f64, winograd_output_f32: see
 * winograd.h.
 *
 * Loops over channels, which the compiler turns into vectors: each reads and writes the same index of arrays that do
 * not overlap but for being transformed in place. 16 bits hold every step of an input transform of 8-bit x. Sums go
 * through i32 where they are proved to fit, else through f64, which has all integers below 2^53.
 */
#include "devices/cpu/exec/kernels/winograd.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"
#include "types/winograd.h"

#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

enum { kMostColumns = 64 }; /* of a panel of a product */

/* B^T along one axis, in place: `next` elements from one position to the next. */
#define INPUT_AXIS(T, name)                                                                     \
  HAI_INLINE void name(const int tile, T* d, int64_t next, int64_t channels) {                  \
    T* d1 = d + next;                                                                           \
    T* d2 = d + 2 * next;                                                                       \
    T* d3 = d + 3 * next;                                                                       \
    if (tile == 2) {                                                                            \
      INDEPENDENT                                                                               \
      for (int64_t c = 0; c < channels; ++c) {                                                  \
        const T x0 = d[c], x1 = d1[c], x2 = d2[c], x3 = d3[c];                                  \
        HAI_WINOGRAD_INPUT_2(T, x0, x1, x2, x3, d[c], d1[c], d2[c], d3[c]);                     \
      }                                                                                         \
      return;                                                                                   \
    }                                                                                           \
    T* d4 = d + 4 * next;                                                                       \
    T* d5 = d + 5 * next;                                                                       \
    INDEPENDENT                                                                                 \
    for (int64_t c = 0; c < channels; ++c) {                                                    \
      const T x0 = d[c], x1 = d1[c], x2 = d2[c], x3 = d3[c], x4 = d4[c], x5 = d5[c];            \
      HAI_WINOGRAD_INPUT_4(T, x0, x1, x2, x3, x4, x5, d[c], d1[c], d2[c], d3[c], d4[c], d5[c]); \
    }                                                                                           \
  }
INPUT_AXIS(int16_t, input_axis_s16)
INPUT_AXIS(float, input_axis_f32)

/* Rounds in 16 bits what they hold with half a step added: 25,500 + 2^11. */
#define WIDEST_NARROW_SHIFT 12

HAI_INLINE int16_t requantize_narrow(int16_t v, int shift, int16_t add, int16_t mask) {
  const int16_t odd = (int16_t)((v >> shift) & mask);
  const int16_t q = (int16_t)((int16_t)(v + (int16_t)(add + odd)) >> shift);
  const int16_t low = q < -128 ? -128 : q;
  return low > 127 ? 127 : low;
}

/* V of one tap in the product's form. */
#define REQUANTIZE_TAP(T, store)                                     \
  do {                                                               \
    T* out = (T*)to;                                                 \
    if (shift > WIDEST_NARROW_SHIFT) {                               \
      INDEPENDENT                                                    \
      for (int64_t c = 0; c < channels; ++c) {                       \
        const int32_t q = hai_winograd_requantize(v[c], shift);      \
        out[c] = (T)(store);                                         \
      }                                                              \
    } else {                                                         \
      INDEPENDENT                                                    \
      for (int64_t c = 0; c < channels; ++c) {                       \
        const int16_t q = requantize_narrow(v[c], shift, add, mask); \
        out[c] = (T)(store);                                         \
      }                                                              \
    }                                                                \
  } while (0)

HAI_INLINE void requantize_tap(const int16_t* v, int64_t channels, int shift, hai_gemm_left left, void* to) {
  const int16_t mask = shift > 0 ? 1 : 0; /* hai_winograd_requantize: half a step less one, one more where odd */
  const int16_t add = (int16_t)(shift > 0 ? (1 << (shift - 1)) - 1 : 0);
  if (left == HAI_GEMM_LEFT_S16) {
    REQUANTIZE_TAP(int16_t, q);
  } else if (left == HAI_GEMM_LEFT_S8) {
    REQUANTIZE_TAP(int8_t, q);
  } else {
    REQUANTIZE_TAP(uint8_t, q + 128);
  }
}

HAI_INLINE void input_s16(const hai_winograd_input* w, const int tile) {
  const int side = tile + 2;
  const int64_t channels = w->channels;
  int16_t* d = (int16_t*)w->d;
  /* A row of pixels lies together: columns are transformed for all pixels of a row at once. */
  input_axis_s16(tile, d, side * channels, side * channels);
  for (int i = 0; i < side; ++i) input_axis_s16(tile, d + i * side * channels, channels, channels);
  for (int t = 0; t < side * side; ++t) {
    requantize_tap(d + t * channels, channels, w->shifts[t], w->left, (char*)w->out + t * w->tap_stride_bytes);
  }
}

void HAI_KERNEL(winograd_input_s16)(const hai_winograd_input* w);
void HAI_KERNEL(winograd_input_s16)(const hai_winograd_input* w) {
  if (w->tile == 2) {
    input_s16(w, 2);
  } else {
    input_s16(w, 4);
  }
}

void HAI_KERNEL(winograd_input_f32)(const hai_winograd_input* w);
void HAI_KERNEL(winograd_input_f32)(const hai_winograd_input* w) {
  const int side = w->tile + 2;
  const int64_t channels = w->channels;
  float* d = (float*)w->d;
  input_axis_f32(w->tile, d, side * channels, side * channels);
  for (int i = 0; i < side; ++i) input_axis_f32(w->tile, d + i * side * channels, channels, channels);
  for (int64_t i = 0; w->rounds != 0 && i < side * side * channels; ++i) d[i] = hai_winograd_round_f16(d[i]);
  for (int t = 0; t < side * side; ++t) {
    __builtin_memcpy((char*)w->out + t * w->tap_stride_bytes, d + t * channels, (uint64_t)channels * 4);
  }
}

/* A^T m A over `cols` columns of one tile: T m[side * side][kMostColumns] to T y[tile * tile][kMostColumns]. */
#define OUTPUT_TILE(T, name)                                                                             \
  HAI_INLINE void name(const int tile, int cols, T* m, T* y) {                                           \
    const int side = tile + 2;                                                                           \
    for (int pass = 0; pass < 2; ++pass) {                                                               \
      const int count = pass == 0 ? side : tile;                                                         \
      const int next = (pass == 0 ? side : 1) * kMostColumns;                                            \
      const int out_next = (pass == 0 ? side : 1) * kMostColumns;                                        \
      for (int i = 0; i < count; ++i) {                                                                  \
        const T* x = m + (pass == 0 ? i : i * side) * kMostColumns;                                      \
        T* z = pass == 0 ? m + i * kMostColumns : y + i * tile * kMostColumns;                           \
        if (tile == 2) {                                                                                 \
          INDEPENDENT                                                                                    \
          for (int c = 0; c < cols; ++c) {                                                               \
            const T x0 = x[c], x1 = x[next + c], x2 = x[2 * next + c], x3 = x[3 * next + c];             \
            HAI_WINOGRAD_OUTPUT_2(T, x0, x1, x2, x3, z[c], z[out_next + c]);                             \
          }                                                                                              \
        } else {                                                                                         \
          INDEPENDENT                                                                                    \
          for (int c = 0; c < cols; ++c) {                                                               \
            const T x0 = x[c], x1 = x[next + c], x2 = x[2 * next + c], x3 = x[3 * next + c];             \
            const T x4 = x[4 * next + c], x5 = x[5 * next + c];                                          \
            HAI_WINOGRAD_OUTPUT_4(T, x0, x1, x2, x3, x4, x5, z[c], z[out_next + c], z[2 * out_next + c], \
                                  z[3 * out_next + c]);                                                  \
          }                                                                                              \
        }                                                                                                \
      }                                                                                                  \
    }                                                                                                    \
  }
OUTPUT_TILE(uint32_t, output_tile_s32)
OUTPUT_TILE(double, output_tile_f64)
OUTPUT_TILE(float, output_tile_f32)

/* acc as f32 to what the epilogue takes. */
HAI_INLINE void store_row(const hai_winograd_output* w, int row, const float* acc) {
  const int cols = w->cols;
  const float* multiplier = w->multiplier;
  if (w->steps == 0) {
    float* real = w->real + row * w->out_stride;
    INDEPENDENT
    for (int c = 0; c < cols; ++c) real[c] = acc[c] * multiplier[c];
    return;
  }
  int32_t* steps = w->steps + row * w->out_stride;
  const float lo = w->lo;
  const float hi = w->hi;
  INDEPENDENT
  for (int c = 0; c < cols; ++c) {
    steps[c] = (int32_t)hai_round_half_even_f32(hai_clamp_f32(acc[c] * multiplier[c], lo, hi));
  }
}

HAI_INLINE void output_s32(const hai_winograd_output* w, const int tile) {
  const int side = tile + 2;
  const int cols = w->cols;
  uint32_t m[HAI_WINOGRAD_MAX_TAPS * kMostColumns];
  uint32_t y[16 * kMostColumns];
  for (int t = 0; t < side * side; ++t) {
    const int32_t* from = w->sums + t * w->tap_stride;
    uint32_t* to = m + t * kMostColumns;
    const int32_t e = w->exponents[t];
    INDEPENDENT
    for (int c = 0; c < cols; ++c) to[c] = (uint32_t)from[c] << e;
  }
  output_tile_s32(tile, cols, m, y);
  for (int i = 0; i < tile * tile; ++i) {
    const int32_t* bias = w->bias_s32 + i * w->bias_stride;
    const uint32_t* sums = y + i * kMostColumns;
    float acc[kMostColumns];
    INDEPENDENT
    for (int c = 0; c < cols; ++c) acc[c] = (float)(int32_t)(sums[c] + (uint32_t)bias[c]);
    store_row(w, i, acc);
  }
}

HAI_INLINE void output_f64(const hai_winograd_output* w, const int tile) {
  const int side = tile + 2;
  const int cols = w->cols;
  double m[HAI_WINOGRAD_MAX_TAPS * kMostColumns];
  double y[16 * kMostColumns];
  for (int t = 0; t < side * side; ++t) {
    const int32_t* from = w->sums + t * w->tap_stride;
    double* to = m + t * kMostColumns;
    const double factor = hai_winograd_power(w->exponents[t]);
    INDEPENDENT
    for (int c = 0; c < cols; ++c) to[c] = (double)from[c] * factor;
  }
  output_tile_f64(tile, cols, m, y);
  for (int i = 0; i < tile * tile; ++i) {
    const double* bias = w->bias_f64 + i * w->bias_stride;
    const double* sums = y + i * kMostColumns;
    float acc[kMostColumns];
    INDEPENDENT
    for (int c = 0; c < cols; ++c) acc[c] = (float)(sums[c] + bias[c]);
    store_row(w, i, acc);
  }
}

void HAI_KERNEL(winograd_output_s32)(const hai_winograd_output* w);
void HAI_KERNEL(winograd_output_s32)(const hai_winograd_output* w) {
  const hai_winograd_output copy = *w; /* stores cannot change it */
  if (copy.bias_s32 != 0 && copy.tile == 2) {
    output_s32(&copy, 2);
  } else if (copy.bias_s32 != 0) {
    output_s32(&copy, 4);
  } else if (copy.tile == 2) {
    output_f64(&copy, 2);
  } else {
    output_f64(&copy, 4);
  }
}

void HAI_KERNEL(winograd_output_f32)(const hai_winograd_output* w);
void HAI_KERNEL(winograd_output_f32)(const hai_winograd_output* given) {
  const hai_winograd_output copy = *given; /* stores cannot change it */
  const hai_winograd_output* w = &copy;
  const int side = w->tile + 2;
  const int cols = w->cols;
  float m[HAI_WINOGRAD_MAX_TAPS * kMostColumns];
  float y[16 * kMostColumns];
  for (int t = 0; t < side * side; ++t) {
    __builtin_memcpy(m + t * kMostColumns, w->real_sums + t * w->tap_stride, (uint64_t)cols * 4);
  }
  output_tile_f32(w->tile, cols, m, y);
  const vec lo = v_set(w->lo);
  const vec hi = v_set(w->hi);
  for (int i = 0; i < w->tile * w->tile; ++i) {
    float* sums = y + i * kMostColumns;
    float* real = w->real + i * w->out_stride;
    INDEPENDENT
    for (int c = 0; c < cols; ++c) sums[c] += w->bias_f32[c];
    for (int c = 0; c < cols; c += HAI_LANES) {
      const vec clamped = v_min(hi, v_max(lo, v_load(sums + c)));
      if (c + HAI_LANES <= cols) {
        v_store(real + c, clamped);
      } else {
        v_store_n(real + c, clamped, cols - c);
      }
    }
  }
}

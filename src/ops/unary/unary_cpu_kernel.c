/* Unary functions: f32 loops over types/unary_table.h, and look-up tables of bytes.
 *
 * One loop per function, which compilers vectorise (float_math.h is branch-free). In place is allowed (x == y). */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "types/unary_table.h"

#if defined(HAI_ISA_AVX512VNNI)
#include <immintrin.h>
#endif

#define HAI_LOOP(name, onnx, parameters, alpha, beta, low, high, f64, f32, formula)      \
  static void name##_loop(const float* xs, float* ys, int64_t count, float a, float b) { \
    (void)a;                                                                             \
    (void)b;                                                                             \
    HAI_INDEPENDENT                                                                      \
    for (int64_t i = 0; i < count; ++i) {                                                \
      const float x = xs[i];                                                             \
      ys[i] = f32;                                                                       \
    }                                                                                    \
  }
HAI_UNARY_TABLE(HAI_LOOP)

void HAI_KERNEL(hai_unary_f32)(int32_t function, const float* x, float* y, int64_t count, float a, float b);
void HAI_KERNEL(hai_unary_f32)(int32_t function, const float* x, float* y, int64_t count, float a, float b) {
  switch (function) {
#define HAI_CASE(name, ...)         \
  case HAI_UNARY_##name:            \
    name##_loop(x, y, count, a, b); \
    return;
    HAI_UNARY_TABLE(HAI_CASE)
    default:
      return;
  }
}

/* y[i] = table[x[i]]; in place allowed. AVX-512 VBMI holds the whole table in four registers. */
void HAI_KERNEL(hai_lookup_u8)(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t count);
void HAI_KERNEL(hai_lookup_u8)(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t count) {
  int64_t i = 0;
#if defined(HAI_ISA_AVX512VNNI) && defined(__AVX512VBMI__)
  const __m512i t0 = _mm512_loadu_si512(table);
  const __m512i t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128);
  const __m512i t3 = _mm512_loadu_si512(table + 192);
  for (; i + 64 <= count; i += 64) {
    const __m512i index = _mm512_loadu_si512(x + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
    _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
  }
#endif
  for (; i < count; ++i) y[i] = table[x[i]];
}

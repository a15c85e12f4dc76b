/* AVX-512 and AVX-VNNI intrinsics in plain C, so that their kernels are tested on machines without the instructions.
 *
 * HAI_EMULATE_AVX512=ON puts this folder before the compiler's own headers for the kernels of avx2vnni, avx512 and
 * avx512vnni and compiles them for AVX2. Each function follows the pseudo code of Intel's Intrinsics Guide element by
 * element; rounding is to nearest even, fma is fused. Only what the kernels use is here: another intrinsic fails to
 * compile ("target specific option mismatch"), and is added. It shows that the kernels compute the right bits, not that
 * the compiler's AVX-512 code does, and it says nothing about speed. Not part of any library that is shipped.
 */
#pragma GCC system_header
#include_next <immintrin.h>
#ifndef HAI_TESTS_EMULATION_IMMINTRIN_H_
#define HAI_TESTS_EMULATION_IMMINTRIN_H_

#include <stdint.h>

#define HAI_EMULATED static inline __attribute__((always_inline, unused))
#define HAI_EACH(n) for (int i = 0; i < (n); ++i)

typedef union {
  __m512 ps;
  __m512d pd;
  __m512i si;
  float f32[16];
  double f64[8];
  int64_t s64[8];
  int32_t s32[16];
  uint32_t u32[16];
  int16_t s16[32];
  int8_t s8[64];
  uint8_t u8[64];
} hai_any512;

typedef union {
  __m256 ps;
  __m256d pd;
  __m256i si;
  float f32[8];
  double f64[4];
  int64_t s64[4];
  int32_t s32[8];
  uint32_t u32[8];
  int16_t s16[16];
  int8_t s8[32];
  uint8_t u8[32];
} hai_any256;

typedef union {
  __m128i si;
  int16_t s16[8];
  int8_t s8[16];
  uint8_t u8[16];
} hai_any128;

/* HAI_BINARY(name, result member, element expression over a, b and i, count) */
#define HAI_BINARY(name, type, member, n, field, expression) \
  HAI_EMULATED type hai_##name(type first, type second) {    \
    hai_any512 a, b, r;                                      \
    a.member = first;                                        \
    b.member = second;                                       \
    HAI_EACH(n) { r.field[i] = (expression); }               \
    return r.member;                                         \
  }

/* --- constants, loads and stores -----------------------------------------------------------------------------------
 */
#define HAI_SET1(name, type, member, n, field, element) \
  HAI_EMULATED type hai_##name(element x) {             \
    hai_any512 r;                                       \
    HAI_EACH(n) { r.field[i] = x; }                     \
    return r.member;                                    \
  }
HAI_SET1(set1_ps, __m512, ps, 16, f32, float)
HAI_SET1(set1_pd, __m512d, pd, 8, f64, double)
HAI_SET1(set1_epi32, __m512i, si, 16, s32, int32_t)
HAI_SET1(set1_epi16, __m512i, si, 32, s16, int16_t)
HAI_SET1(set1_epi8, __m512i, si, 64, s8, int8_t)
HAI_SET1(set1_epi64, __m512i, si, 8, s64, int64_t)

#define HAI_LOAD(name, type, member)            \
  HAI_EMULATED type hai_##name(const void* p) { \
    hai_any512 r;                               \
    __builtin_memcpy(&r, p, sizeof(r));         \
    return r.member;                            \
  }
HAI_LOAD(loadu_ps, __m512, ps)
HAI_LOAD(loadu_pd, __m512d, pd)
HAI_LOAD(loadu_si512, __m512i, si)

#define HAI_STORE(name, type, member)             \
  HAI_EMULATED void hai_##name(void* p, type x) { \
    hai_any512 r;                                 \
    r.member = x;                                 \
    __builtin_memcpy(p, &r, sizeof(r));           \
  }
HAI_STORE(storeu_ps, __m512, ps)
HAI_STORE(storeu_pd, __m512d, pd)
HAI_STORE(storeu_si512, __m512i, si)
HAI_STORE(stream_ps, __m512, ps)

/* Memory behind a mask bit of 0 is not touched, as in hardware. */
#define HAI_MASKZ_LOAD(name, any, type, member, n, field, element, mask)                        \
  HAI_EMULATED type hai_##name(mask m, const void* p) {                                         \
    any r;                                                                                      \
    HAI_EACH(n) {                                                                               \
      r.field[i] = 0;                                                                           \
      if ((m >> i) & 1U) __builtin_memcpy(&r.field[i], (const element*)p + i, sizeof(element)); \
    }                                                                                           \
    return r.member;                                                                            \
  }
HAI_MASKZ_LOAD(maskz_loadu_ps, hai_any512, __m512, ps, 16, f32, float, __mmask16)
HAI_MASKZ_LOAD(maskz_loadu_epi8, hai_any512, __m512i, si, 64, u8, uint8_t, __mmask64)
HAI_MASKZ_LOAD(m128_maskz_loadu_epi8, hai_any128, __m128i, si, 16, u8, uint8_t, __mmask16)
HAI_MASKZ_LOAD(m128_maskz_loadu_epi16, hai_any128, __m128i, si, 8, s16, int16_t, __mmask8)
HAI_MASKZ_LOAD(m256_maskz_loadu_epi16, hai_any256, __m256i, si, 16, s16, int16_t, __mmask16)

#define HAI_MASK_STORE(name, any, type, member, n, field, element, mask)                  \
  HAI_EMULATED void hai_##name(void* p, mask m, type x) {                                 \
    any r;                                                                                \
    r.member = x;                                                                         \
    HAI_EACH(n) {                                                                         \
      if ((m >> i) & 1U) __builtin_memcpy((element*)p + i, &r.field[i], sizeof(element)); \
    }                                                                                     \
  }
HAI_MASK_STORE(mask_storeu_ps, hai_any512, __m512, ps, 16, f32, float, __mmask16)
HAI_MASK_STORE(mask_storeu_epi8, hai_any512, __m512i, si, 64, u8, uint8_t, __mmask64)
HAI_MASK_STORE(m128_mask_storeu_epi8, hai_any128, __m128i, si, 16, u8, uint8_t, __mmask16)
HAI_MASK_STORE(m128_mask_storeu_epi16, hai_any128, __m128i, si, 8, s16, int16_t, __mmask8)
HAI_MASK_STORE(m256_mask_storeu_ps, hai_any256, __m256, ps, 8, f32, float, __mmask8)
HAI_MASK_STORE(m256_mask_storeu_epi16, hai_any256, __m256i, si, 16, s16, int16_t, __mmask16)

HAI_EMULATED __m512 hai_maskz_mov_ps(__mmask16 mask, __m512 x) {
  hai_any512 r;
  r.ps = x;
  HAI_EACH(16) { r.u32[i] = (mask >> i & 1) != 0 ? r.u32[i] : 0; }
  return r.ps;
}

HAI_EMULATED __m512i hai_i32gather_epi32(__m512i index, const void* base, int scale) {
  hai_any512 a, r;
  a.si = index;
  HAI_EACH(16) { __builtin_memcpy(&r.s32[i], (const char*)base + (int64_t)a.s32[i] * scale, 4); }
  return r.si;
}

/* --- floats ---------------------------------------------------------------------------------------------------------
 */
HAI_BINARY(add_ps, __m512, ps, 16, f32, a.f32[i] + b.f32[i])
HAI_BINARY(sub_ps, __m512, ps, 16, f32, a.f32[i] - b.f32[i])
HAI_BINARY(mul_ps, __m512, ps, 16, f32, a.f32[i] * b.f32[i])
HAI_BINARY(div_ps, __m512, ps, 16, f32, a.f32[i] / b.f32[i])
HAI_BINARY(max_ps, __m512, ps, 16, f32, a.f32[i] > b.f32[i] ? a.f32[i] : b.f32[i])
HAI_BINARY(min_ps, __m512, ps, 16, f32, a.f32[i] < b.f32[i] ? a.f32[i] : b.f32[i])
HAI_BINARY(xor_ps, __m512, ps, 16, u32, a.u32[i] ^ b.u32[i])
HAI_BINARY(and_pd, __m512d, pd, 8, s64, a.s64[i] & b.s64[i])
HAI_BINARY(or_pd, __m512d, pd, 8, s64, a.s64[i] | b.s64[i])
HAI_BINARY(add_pd, __m512d, pd, 8, f64, a.f64[i] + b.f64[i])
HAI_BINARY(mul_pd, __m512d, pd, 8, f64, a.f64[i] * b.f64[i])
HAI_BINARY(max_pd, __m512d, pd, 8, f64, a.f64[i] > b.f64[i] ? a.f64[i] : b.f64[i])
HAI_BINARY(min_pd, __m512d, pd, 8, f64, a.f64[i] < b.f64[i] ? a.f64[i] : b.f64[i])

HAI_EMULATED __m512 hai_fmadd_ps(__m512 x, __m512 y, __m512 z) {
  hai_any512 a, b, c;
  a.ps = x;
  b.ps = y;
  c.ps = z;
  HAI_EACH(16) { c.f32[i] = __builtin_fmaf(a.f32[i], b.f32[i], c.f32[i]); }
  return c.ps;
}
HAI_EMULATED __m512d hai_fmadd_pd(__m512d x, __m512d y, __m512d z) {
  hai_any512 a, b, c;
  a.pd = x;
  b.pd = y;
  c.pd = z;
  HAI_EACH(8) { c.f64[i] = __builtin_fma(a.f64[i], b.f64[i], c.f64[i]); }
  return c.pd;
}
/* x * 2^floor(y), rounded once: in two exact factors and a last one that rounds. |floor(y)| <= 254 here. */
HAI_EMULATED __m512 hai_scalef_ps(__m512 x, __m512 y) {
  hai_any512 a, b, r;
  a.ps = x;
  b.ps = y;
  HAI_EACH(16) {
    int power = (int)b.f32[i];
    if ((float)power > b.f32[i]) --power;
    power = power > 500 ? 500 : power < -500 ? -500 : power;
    union {
      uint64_t bits;
      double value;
    } factor = {(uint64_t)(1023 + power) << 52};
    r.f32[i] = (float)((double)a.f32[i] * factor.value);
  }
  return r.ps;
}
/* To whole numbers, half to even: what the kernels ask for (immediate 0 or 8). */
HAI_EMULATED __m512 hai_roundscale_ps(__m512 x, int rule) {
  hai_any512 a;
  a.ps = x;
  HAI_EACH(16) {
    if ((rule & ~8) != 0) __builtin_trap();
    const __m128 one = _mm_set_ss(a.f32[i]);
    a.f32[i] = _mm_cvtss_f32(_mm_round_ss(one, one, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  return a.ps;
}
/* To whole numbers, half to even or down. */
HAI_EMULATED __m512d hai_roundscale_pd(__m512d x, int rule) {
  hai_any512 a;
  a.pd = x;
  HAI_EACH(8) {
    const __m128d one = _mm_set_sd(a.f64[i]);
    switch (rule & ~8) {
      case _MM_FROUND_TO_NEAREST_INT:
        a.f64[i] = _mm_cvtsd_f64(_mm_round_sd(one, one, 8));
        break;
      case _MM_FROUND_TO_NEG_INF:
        a.f64[i] = _mm_cvtsd_f64(_mm_round_sd(one, one, 9));
        break;
      default:
        __builtin_trap();
    }
  }
  return a.pd;
}
HAI_EMULATED __mmask16 hai_cmp_ps_mask(__m512 x, __m512 y, int rule) {
  hai_any512 a, b;
  a.ps = x;
  b.ps = y;
  unsigned mask = 0;
  HAI_EACH(16) {
    int hit = 0;
    switch (rule) {
      case _CMP_EQ_OQ:
        hit = a.f32[i] == b.f32[i];
        break;
      case _CMP_LT_OQ:
      case _CMP_LT_OS:
        hit = a.f32[i] < b.f32[i];
        break;
      case _CMP_LE_OQ:
      case _CMP_LE_OS:
        hit = a.f32[i] <= b.f32[i];
        break;
      case _CMP_GT_OQ:
      case _CMP_GT_OS:
        hit = a.f32[i] > b.f32[i];
        break;
      case _CMP_GE_OQ:
      case _CMP_GE_OS:
        hit = a.f32[i] >= b.f32[i];
        break;
      case _CMP_UNORD_Q:
        hit = __builtin_isunordered(a.f32[i], b.f32[i]);
        break;
      default:
        __builtin_trap();
    }
    mask |= (unsigned)hit << i;
  }
  return (__mmask16)mask;
}
HAI_EMULATED __m512 hai_mask_mov_ps(__m512 otherwise, __mmask16 m, __m512 x) {
  hai_any512 a, r;
  a.ps = x;
  r.ps = otherwise;
  HAI_EACH(16) {
    if ((m >> i) & 1U) r.f32[i] = a.f32[i];
  }
  return r.ps;
}

/* --- integers -------------------------------------------------------------------------------------------------------
 */
HAI_BINARY(add_epi32, __m512i, si, 16, u32, a.u32[i] + b.u32[i])
HAI_BINARY(sub_epi32, __m512i, si, 16, u32, a.u32[i] - b.u32[i])
HAI_BINARY(mullo_epi32, __m512i, si, 16, u32, a.u32[i] * b.u32[i])
HAI_BINARY(add_epi64, __m512i, si, 8, s64, (int64_t)((uint64_t)a.s64[i] + (uint64_t)b.s64[i]))
HAI_BINARY(and_si512, __m512i, si, 8, s64, a.s64[i] & b.s64[i])
HAI_BINARY(or_si512, __m512i, si, 8, s64, a.s64[i] | b.s64[i])
HAI_BINARY(xor_si512, __m512i, si, 8, s64, a.s64[i] ^ b.s64[i])
HAI_BINARY(sub_epi8, __m512i, si, 64, u8, (uint8_t)(a.u8[i] - b.u8[i]))
HAI_BINARY(max_epi32, __m512i, si, 16, s32, a.s32[i] > b.s32[i] ? a.s32[i] : b.s32[i])
HAI_BINARY(min_epi32, __m512i, si, 16, s32, a.s32[i] < b.s32[i] ? a.s32[i] : b.s32[i])
HAI_BINARY(madd_epi16, __m512i, si, 16, u32,
           (uint32_t)(a.s16[2 * i] * b.s16[2 * i]) + (uint32_t)(a.s16[2 * i + 1] * b.s16[2 * i + 1]))

#define HAI_SHIFT(name, n, field, element, expression)         \
  HAI_EMULATED __m512i hai_##name(__m512i x, unsigned count) { \
    hai_any512 a;                                              \
    a.si = x;                                                  \
    HAI_EACH(n) { a.field[i] = (element)(expression); }        \
    return a.si;                                               \
  }
HAI_SHIFT(srai_epi32, 16, s32, int32_t, a.s32[i] >> count)
HAI_SHIFT(srai_epi16, 32, s16, int16_t, a.s16[i] >> count)
HAI_SHIFT(srli_epi16, 32, s16, int16_t, (uint16_t)a.s16[i] >> count)
HAI_SHIFT(srli_epi32, 16, u32, uint32_t, a.u32[i] >> count)
HAI_SHIFT(slli_epi16, 32, s16, int16_t, (uint16_t)a.s16[i] << count)
HAI_SHIFT(slli_epi32, 16, u32, uint32_t, a.u32[i] << count)
HAI_SHIFT(slli_epi64, 8, s64, int64_t, (uint64_t)a.s64[i] << count)
HAI_SHIFT(srli_epi64, 8, s64, int64_t, (uint64_t)a.s64[i] >> count)

HAI_EMULATED __m512i hai_dpbusd_epi32(__m512i sum, __m512i x, __m512i y) {
  hai_any512 s, a, b;
  s.si = sum;
  a.si = x;
  b.si = y;
  HAI_EACH(16) {
    int32_t dot = 0;
    for (int j = 0; j < 4; ++j) dot += a.u8[4 * i + j] * b.s8[4 * i + j];
    s.u32[i] += (uint32_t)dot;
  }
  return s.si;
}
HAI_EMULATED __m512i hai_dpwssd_epi32(__m512i sum, __m512i x, __m512i y) {
  return hai_add_epi32(sum, hai_madd_epi16(x, y));
}
HAI_EMULATED __m256i hai_m256_dpbusd_avx_epi32(__m256i sum, __m256i x, __m256i y) {
  hai_any256 s, a, b;
  s.si = sum;
  a.si = x;
  b.si = y;
  HAI_EACH(8) {
    int32_t dot = 0;
    for (int j = 0; j < 4; ++j) dot += a.u8[4 * i + j] * b.s8[4 * i + j];
    s.u32[i] += (uint32_t)dot;
  }
  return s.si;
}
HAI_EMULATED __m256i hai_m256_dpwssd_avx_epi32(__m256i sum, __m256i x, __m256i y) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
}
/* Bit 6 of an index chooses the table, bits 0 to 5 the byte in it. */
HAI_EMULATED __m512i hai_permutex2var_epi8(__m512i low, __m512i index, __m512i high) {
  hai_any512 a, b, n, r;
  a.si = low;
  b.si = high;
  n.si = index;
  HAI_EACH(64) { r.u8[i] = (n.u8[i] & 64U) != 0 ? b.u8[n.u8[i] & 63U] : a.u8[n.u8[i] & 63U]; }
  return r.si;
}
HAI_EMULATED __m512i hai_permutexvar_epi8(__m512i index, __m512i table) {
  return hai_permutex2var_epi8(table, hai_and_si512(index, hai_set1_epi8(63)), table);
}
HAI_EMULATED __mmask64 hai_movepi8_mask(__m512i x) {
  hai_any512 a;
  a.si = x;
  uint64_t mask = 0;
  HAI_EACH(64) { mask |= (uint64_t)(a.u8[i] >> 7) << i; }
  return mask;
}
HAI_EMULATED __m512i hai_mask_blend_epi8(__mmask64 m, __m512i x, __m512i y) {
  hai_any512 a, b;
  a.si = x;
  b.si = y;
  HAI_EACH(64) {
    if ((m >> i) & 1U) a.u8[i] = b.u8[i];
  }
  return a.si;
}
HAI_EMULATED __m256i hai_extracti64x4_epi64(__m512i x, int half) {
  __m256i r;
  __builtin_memcpy(&r, (const char*)&x + 32 * (half & 1), sizeof(r));
  return r;
}
HAI_EMULATED __m512i hai_inserti64x4(__m512i x, __m256i y, int half) {
  __builtin_memcpy((char*)&x + 32 * (half & 1), &y, sizeof(y));
  return x;
}

/* --- conversions ----------------------------------------------------------------------------------------------------
 */
#define HAI_CONVERT(name, from_any, from_type, from_member, to_any, to_type, to_member, n, expression) \
  HAI_EMULATED to_type hai_##name(from_type x) {                                                       \
    from_any a;                                                                                        \
    to_any r;                                                                                          \
    a.from_member = x;                                                                                 \
    HAI_EACH(n) { expression; }                                                                        \
    return r.to_member;                                                                                \
  }
HAI_CONVERT(cvtps_epi32, hai_any512, __m512, ps, hai_any512, __m512i, si, 16,
            r.s32[i] = _mm_cvtss_si32(_mm_set_ss(a.f32[i])))
HAI_CONVERT(cvttps_epi32, hai_any512, __m512, ps, hai_any512, __m512i, si, 16,
            r.s32[i] = _mm_cvttss_si32(_mm_set_ss(a.f32[i])))
HAI_CONVERT(cvtepi32_ps, hai_any512, __m512i, si, hai_any512, __m512, ps, 16, r.f32[i] = (float)a.s32[i])
HAI_CONVERT(cvtepi64_pd, hai_any512, __m512i, si, hai_any512, __m512d, pd, 8, r.f64[i] = (double)a.s64[i])
HAI_CONVERT(cvtepi32_pd, hai_any256, __m256i, si, hai_any512, __m512d, pd, 8, r.f64[i] = (double)a.s32[i])
HAI_CONVERT(cvtps_pd, hai_any256, __m256, ps, hai_any512, __m512d, pd, 8, r.f64[i] = (double)a.f32[i])
HAI_CONVERT(cvtpd_ps, hai_any512, __m512d, pd, hai_any256, __m256, ps, 8, r.f32[i] = (float)a.f64[i])
HAI_CONVERT(cvtpd_epi32, hai_any512, __m512d, pd, hai_any256, __m256i, si, 8,
            r.s32[i] = _mm_cvtsd_si32(_mm_set_sd(a.f64[i])))
HAI_CONVERT(cvttpd_epi32, hai_any512, __m512d, pd, hai_any256, __m256i, si, 8,
            r.s32[i] = _mm_cvttsd_si32(_mm_set_sd(a.f64[i])))
HAI_CONVERT(cvtepi32_epi64, hai_any256, __m256i, si, hai_any512, __m512i, si, 8, r.s64[i] = a.s32[i])
HAI_CONVERT(cvtepi8_epi16, hai_any256, __m256i, si, hai_any512, __m512i, si, 32, r.s16[i] = a.s8[i])
HAI_CONVERT(cvtepu8_epi16, hai_any256, __m256i, si, hai_any512, __m512i, si, 32, r.s16[i] = (int16_t)a.u8[i])
HAI_CONVERT(cvtepi16_epi32, hai_any256, __m256i, si, hai_any512, __m512i, si, 16, r.s32[i] = a.s16[i])
HAI_CONVERT(cvtepi8_epi32, hai_any128, __m128i, si, hai_any512, __m512i, si, 16, r.s32[i] = a.s8[i])
HAI_CONVERT(cvtepu8_epi32, hai_any128, __m128i, si, hai_any512, __m512i, si, 16, r.s32[i] = a.u8[i])
HAI_CONVERT(cvtepi32_epi8, hai_any512, __m512i, si, hai_any128, __m128i, si, 16, r.s8[i] = (int8_t)a.s32[i])
HAI_CONVERT(m256_cvtepi32_epi16, hai_any256, __m256i, si, hai_any128, __m128i, si, 8, r.s16[i] = (int16_t)a.s32[i])
HAI_CONVERT(cvtepi32_epi16, hai_any512, __m512i, si, hai_any256, __m256i, si, 16, r.s16[i] = (int16_t)a.s32[i])

#undef HAI_EACH

/* --- the names that kernels use -------------------------------------------------------------------------------------
 */
#undef _mm512_set1_ps
#define _mm512_set1_ps hai_set1_ps
#undef _mm512_set1_pd
#define _mm512_set1_pd hai_set1_pd
#undef _mm512_set1_epi32
#define _mm512_set1_epi32 hai_set1_epi32
#undef _mm512_set1_epi16
#define _mm512_set1_epi16 hai_set1_epi16
#undef _mm512_set1_epi8
#define _mm512_set1_epi8 hai_set1_epi8
#undef _mm512_set1_epi64
#define _mm512_set1_epi64 hai_set1_epi64
#undef _mm512_loadu_ps
#define _mm512_loadu_ps hai_loadu_ps
#undef _mm512_loadu_pd
#define _mm512_loadu_pd hai_loadu_pd
#undef _mm512_loadu_si512
#define _mm512_loadu_si512 hai_loadu_si512
#undef _mm512_storeu_ps
#define _mm512_storeu_ps hai_storeu_ps
#undef _mm512_storeu_pd
#define _mm512_storeu_pd hai_storeu_pd
#undef _mm512_stream_ps
#define _mm512_stream_ps hai_stream_ps
#undef _mm512_maskz_mov_ps
#define _mm512_maskz_mov_ps hai_maskz_mov_ps
#undef _mm512_storeu_si512
#define _mm512_storeu_si512 hai_storeu_si512
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps hai_maskz_loadu_ps
#undef _mm512_maskz_loadu_epi8
#define _mm512_maskz_loadu_epi8 hai_maskz_loadu_epi8
#undef _mm_maskz_loadu_epi8
#define _mm_maskz_loadu_epi8 hai_m128_maskz_loadu_epi8
#undef _mm_maskz_loadu_epi16
#define _mm_maskz_loadu_epi16 hai_m128_maskz_loadu_epi16
#undef _mm256_maskz_loadu_epi16
#define _mm256_maskz_loadu_epi16 hai_m256_maskz_loadu_epi16
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps hai_mask_storeu_ps
#undef _mm512_mask_storeu_epi8
#define _mm512_mask_storeu_epi8 hai_mask_storeu_epi8
#undef _mm_mask_storeu_epi8
#define _mm_mask_storeu_epi8 hai_m128_mask_storeu_epi8
#undef _mm_mask_storeu_epi16
#define _mm_mask_storeu_epi16 hai_m128_mask_storeu_epi16
#undef _mm256_mask_storeu_ps
#define _mm256_mask_storeu_ps hai_m256_mask_storeu_ps
#undef _mm256_mask_storeu_epi16
#define _mm256_mask_storeu_epi16 hai_m256_mask_storeu_epi16
#undef _mm512_i32gather_epi32
#define _mm512_i32gather_epi32 hai_i32gather_epi32
#undef _mm512_add_ps
#define _mm512_add_ps hai_add_ps
#undef _mm512_sub_ps
#define _mm512_sub_ps hai_sub_ps
#undef _mm512_mul_ps
#define _mm512_mul_ps hai_mul_ps
#undef _mm512_div_ps
#define _mm512_div_ps hai_div_ps
#undef _mm512_max_ps
#define _mm512_max_ps hai_max_ps
#undef _mm512_min_ps
#define _mm512_min_ps hai_min_ps
#undef _mm512_xor_ps
#define _mm512_xor_ps hai_xor_ps
#undef _mm512_add_pd
#define _mm512_add_pd hai_add_pd
#undef _mm512_mul_pd
#define _mm512_mul_pd hai_mul_pd
#undef _mm512_max_pd
#define _mm512_max_pd hai_max_pd
#undef _mm512_min_pd
#define _mm512_min_pd hai_min_pd
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps hai_fmadd_ps
#undef _mm512_fmadd_pd
#define _mm512_fmadd_pd hai_fmadd_pd
#undef _mm512_scalef_ps
#define _mm512_scalef_ps hai_scalef_ps
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps hai_roundscale_ps
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask hai_cmp_ps_mask
#undef _mm512_mask_mov_ps
#define _mm512_mask_mov_ps hai_mask_mov_ps
#undef _mm512_add_epi32
#define _mm512_add_epi32 hai_add_epi32
#undef _mm512_sub_epi32
#define _mm512_sub_epi32 hai_sub_epi32
#undef _mm512_mullo_epi32
#define _mm512_mullo_epi32 hai_mullo_epi32
#undef _mm512_add_epi64
#define _mm512_add_epi64 hai_add_epi64
#undef _mm512_and_si512
#define _mm512_and_si512 hai_and_si512
#undef _mm512_or_si512
#define _mm512_or_si512 hai_or_si512
#undef _mm512_xor_si512
#define _mm512_xor_si512 hai_xor_si512
#undef _mm512_sub_epi8
#define _mm512_sub_epi8 hai_sub_epi8
#undef _mm512_max_epi32
#define _mm512_max_epi32 hai_max_epi32
#undef _mm512_min_epi32
#define _mm512_min_epi32 hai_min_epi32
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 hai_madd_epi16
#undef _mm512_srai_epi32
#define _mm512_srai_epi32 hai_srai_epi32
#undef _mm512_srai_epi16
#define _mm512_srai_epi16 hai_srai_epi16
#undef _mm512_srli_epi16
#define _mm512_srli_epi16 hai_srli_epi16
#undef _mm512_srli_epi32
#define _mm512_srli_epi32 hai_srli_epi32
#undef _mm512_slli_epi16
#define _mm512_slli_epi16 hai_slli_epi16
#undef _mm512_slli_epi32
#define _mm512_slli_epi32 hai_slli_epi32
#undef _mm512_slli_epi64
#define _mm512_slli_epi64 hai_slli_epi64
#undef _mm512_srli_epi64
#define _mm512_srli_epi64 hai_srli_epi64
#undef _mm512_dpbusd_epi32
#define _mm512_dpbusd_epi32 hai_dpbusd_epi32
#undef _mm512_dpwssd_epi32
#define _mm512_dpwssd_epi32 hai_dpwssd_epi32
#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 hai_m256_dpbusd_avx_epi32
#undef _mm256_dpbusd_epi32
#define _mm256_dpbusd_epi32 hai_m256_dpbusd_avx_epi32
#undef _mm256_dpwssd_avx_epi32
#define _mm256_dpwssd_avx_epi32 hai_m256_dpwssd_avx_epi32
#undef _mm512_permutex2var_epi8
#define _mm512_permutex2var_epi8 hai_permutex2var_epi8
#undef _mm512_permutexvar_epi8
#define _mm512_permutexvar_epi8 hai_permutexvar_epi8
#undef _mm512_movepi8_mask
#define _mm512_movepi8_mask hai_movepi8_mask
#undef _mm512_mask_blend_epi8
#define _mm512_mask_blend_epi8 hai_mask_blend_epi8
#undef _mm512_extracti64x4_epi64
#define _mm512_extracti64x4_epi64 hai_extracti64x4_epi64
#undef _mm512_inserti64x4
#define _mm512_inserti64x4 hai_inserti64x4
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 hai_cvtps_epi32
#undef _mm512_cvttps_epi32
#define _mm512_cvttps_epi32 hai_cvttps_epi32
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps hai_cvtepi32_ps
#undef _mm512_cvtepi64_pd
#define _mm512_cvtepi64_pd hai_cvtepi64_pd
#undef _mm512_cvtepi32_pd
#define _mm512_cvtepi32_pd hai_cvtepi32_pd
#undef _mm512_cvtps_pd
#define _mm512_cvtps_pd hai_cvtps_pd
#undef _mm512_cvtpd_ps
#define _mm512_cvtpd_ps hai_cvtpd_ps
#undef _mm512_cvtpd_epi32
#define _mm512_cvtpd_epi32 hai_cvtpd_epi32
#undef _mm512_cvtepi32_epi64
#define _mm512_cvtepi32_epi64 hai_cvtepi32_epi64
#undef _mm512_cvtepi8_epi16
#define _mm512_cvtepi8_epi16 hai_cvtepi8_epi16
#undef _mm512_cvtepu8_epi16
#define _mm512_cvtepu8_epi16 hai_cvtepu8_epi16
#undef _mm512_cvtepi16_epi32
#define _mm512_cvtepi16_epi32 hai_cvtepi16_epi32
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 hai_cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32 hai_cvtepu8_epi32
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 hai_cvtepi32_epi8
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 hai_cvtepi32_epi16
#undef _mm256_cvtepi32_epi16
#define _mm256_cvtepi32_epi16 hai_m256_cvtepi32_epi16
#undef _mm512_roundscale_pd
#define _mm512_roundscale_pd hai_roundscale_pd
#undef _mm512_and_pd
#define _mm512_and_pd hai_and_pd
#undef _mm512_or_pd
#define _mm512_or_pd hai_or_pd
#undef _mm512_cvttpd_epi32
#define _mm512_cvttpd_epi32 hai_cvttpd_epi32
#undef _mm512_setzero_ps
#define _mm512_setzero_ps() hai_set1_ps(0.0F)
#undef _mm512_setzero_si512
#define _mm512_setzero_si512() hai_set1_epi32(0)
#undef _mm512_castsi512_si256
#define _mm512_castsi512_si256(x) hai_extracti64x4_epi64((x), 0)
#undef _mm512_castps_si512
#define _mm512_castps_si512(x) ((__m512i)(x))
#undef _mm512_castsi512_ps
#define _mm512_castsi512_ps(x) ((__m512)(x))

#endif /* HAI_TESTS_EMULATION_IMMINTRIN_H_ */

/* Vectors of 64 bits of one instruction set: `dvec` (f64), HAI_LANES64 of them, beside the 32-bit ones of vector.h.
 *
 * 16-bit activations sum in integers below 2^53, which f64 holds exactly, and requantize through f64. The `_n` forms
 * touch only the first n < HAI_LANES64 elements in memory. d_store_s16 rounds half to even; its argument is clamped.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_VECTOR64_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_VECTOR64_H_

#include "devices/cpu/exec/kernels/vector.h"

/* ---------------------------------------------------------------------------------------------------- AVX-512 */
#if defined(HAI_VECTOR_AVX512)
#define HAI_LANES64 8
typedef __m512d dvec;
#define HAI_TAIL64(n) ((__mmask8)((1U << (n)) - 1U))

HAI_INLINE dvec d_set(double x) { return _mm512_set1_pd(x); }
HAI_INLINE dvec d_load(const double* p) { return _mm512_loadu_pd(p); }
HAI_INLINE dvec d_from_f32(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
HAI_INLINE dvec d_from_s16(const int16_t* p) {
  return _mm512_cvtepi32_pd(_mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i*)(const void*)p)));
}
HAI_INLINE dvec d_from_s16_n(const int16_t* p, int n) {
  return _mm512_cvtepi32_pd(_mm256_cvtepi16_epi32(_mm_maskz_loadu_epi16(HAI_TAIL64(n), p)));
}
/* Lanes HAI_LANES64 * part and on. */
HAI_INLINE dvec d_from_i(ivec x, const int part) {
  return _mm512_cvtepi32_pd(part == 0 ? _mm512_castsi512_si256(x) : _mm512_extracti64x4_epi64(x, 1));
}
/* a + b of two 64-bit integers, |a + b| < 2^53. */
HAI_INLINE dvec d_from_sum(const int64_t* a, const int64_t* b) {
  return _mm512_cvtepi64_pd(_mm512_add_epi64(_mm512_loadu_si512(a), _mm512_loadu_si512(b)));
}
HAI_INLINE dvec d_mul(dvec a, dvec b) { return _mm512_mul_pd(a, b); }
HAI_INLINE dvec d_fma(dvec a, dvec b, dvec c) { return _mm512_fmadd_pd(a, b, c); }
HAI_INLINE dvec d_max(dvec bound, dvec x) { return _mm512_max_pd(bound, x); }
HAI_INLINE dvec d_min(dvec bound, dvec x) { return _mm512_min_pd(bound, x); }
HAI_INLINE __m128i d_words(dvec x, int32_t zero_point) {
  return _mm256_cvtepi32_epi16(_mm256_add_epi32(_mm512_cvtpd_epi32(x), _mm256_set1_epi32(zero_point)));
}
HAI_INLINE void d_store_s16(int16_t* p, dvec x, int32_t zero_point) {
  _mm_storeu_si128((__m128i*)(void*)p, d_words(x, zero_point));
}
HAI_INLINE void d_store_s16_n(int16_t* p, dvec x, int32_t zero_point, int n) {
  _mm_mask_storeu_epi16(p, HAI_TAIL64(n), d_words(x, zero_point));
}
HAI_INLINE void d_store_f32(float* p, dvec x) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(x)); }
HAI_INLINE void d_store_f32_n(float* p, dvec x, int n) { _mm256_mask_storeu_ps(p, HAI_TAIL64(n), _mm512_cvtpd_ps(x)); }
/* sums[i] = (add ? sums[i] : 0) + (wide ? 256 * high[i] + low[i] : low[i]), HAI_LANES of them. */
HAI_INLINE void l_accumulate(int64_t* sums, ivec low, ivec high, const int wide, int add) {
  for (int half = 0; half < 2; ++half) {
    __m512i x = _mm512_cvtepi32_epi64(half == 0 ? _mm512_castsi512_si256(low) : _mm512_extracti64x4_epi64(low, 1));
    if (wide) {
      const __m256i h = half == 0 ? _mm512_castsi512_si256(high) : _mm512_extracti64x4_epi64(high, 1);
      x = _mm512_add_epi64(x, _mm512_slli_epi64(_mm512_cvtepi32_epi64(h), 8));
    }
    if (add) x = _mm512_add_epi64(x, _mm512_loadu_si512(sums + 8 * half));
    _mm512_storeu_si512(sums + 8 * half, x);
  }
}

/* ------------------------------------------------------------------------------------------------------- AVX2 */
#elif defined(HAI_VECTOR_AVX2)
#define HAI_LANES64 4
typedef __m256d dvec;

HAI_INLINE dvec d_set(double x) { return _mm256_set1_pd(x); }
HAI_INLINE dvec d_load(const double* p) { return _mm256_loadu_pd(p); }
HAI_INLINE dvec d_from_f32(const float* p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
HAI_INLINE dvec d_from_s16(const int16_t* p) {
  return _mm256_cvtepi32_pd(_mm_cvtepi16_epi32(_mm_loadl_epi64((const __m128i*)(const void*)p)));
}
HAI_INLINE dvec d_from_s16_n(const int16_t* p, int n) {
  uint64_t bytes = 0;
  bytes_copy(&bytes, p, 2 * n);
  return _mm256_cvtepi32_pd(_mm_cvtepi16_epi32(_mm_cvtsi64_si128((long long)bytes)));
}
HAI_INLINE dvec d_from_i(ivec x, const int part) {
  return _mm256_cvtepi32_pd(part == 0 ? _mm256_castsi256_si128(x) : _mm256_extracti128_si256(x, 1));
}
/* No conversion from 64 bits: the halves get exponents of 2^84 and 2^52 by their bits; the sum is exact below 2^53. */
HAI_INLINE dvec d_from_sum(const int64_t* a, const int64_t* b) {
  const __m256i x = _mm256_add_epi64(_mm256_loadu_si256((const __m256i*)(const void*)a),
                                     _mm256_loadu_si256((const __m256i*)(const void*)b));
  const __m256i low = _mm256_blend_epi32(_mm256_set1_epi64x(0x4330000000000000LL), x, 0x55);
  const __m256i high = _mm256_xor_si256(_mm256_srli_epi64(x, 32), _mm256_set1_epi64x(0x4530000080000000LL));
  const dvec top = _mm256_sub_pd(_mm256_castsi256_pd(high), _mm256_set1_pd(0x1.0000080100000p+84));
  return _mm256_add_pd(top, _mm256_castsi256_pd(low));
}
HAI_INLINE dvec d_mul(dvec a, dvec b) { return _mm256_mul_pd(a, b); }
HAI_INLINE dvec d_fma(dvec a, dvec b, dvec c) { return _mm256_fmadd_pd(a, b, c); }
HAI_INLINE dvec d_max(dvec bound, dvec x) { return _mm256_max_pd(bound, x); }
HAI_INLINE dvec d_min(dvec bound, dvec x) { return _mm256_min_pd(bound, x); }
HAI_INLINE __m128i d_words(dvec x, int32_t zero_point) {
  const __m128i q = _mm_add_epi32(_mm256_cvtpd_epi32(x), _mm_set1_epi32(zero_point));
  return _mm_packs_epi32(q, q);
}
HAI_INLINE void d_store_s16(int16_t* p, dvec x, int32_t zero_point) {
  _mm_storel_epi64((__m128i*)(void*)p, d_words(x, zero_point));
}
HAI_INLINE void d_store_s16_n(int16_t* p, dvec x, int32_t zero_point, int n) {
  const long long words = _mm_cvtsi128_si64(d_words(x, zero_point));
  bytes_copy(p, &words, 2 * n);
}
HAI_INLINE void d_store_f32(float* p, dvec x) { _mm_storeu_ps(p, _mm256_cvtpd_ps(x)); }
HAI_INLINE void d_store_f32_n(float* p, dvec x, int n) {
  float part[4];
  _mm_storeu_ps(part, _mm256_cvtpd_ps(x));
  bytes_copy(p, part, 4 * n);
}
HAI_INLINE void l_accumulate(int64_t* sums, ivec low, ivec high, const int wide, int add) {
  for (int half = 0; half < 2; ++half) {
    __m256i x = _mm256_cvtepi32_epi64(half == 0 ? _mm256_castsi256_si128(low) : _mm256_extracti128_si256(low, 1));
    if (wide) {
      const __m128i h = half == 0 ? _mm256_castsi256_si128(high) : _mm256_extracti128_si256(high, 1);
      x = _mm256_add_epi64(x, _mm256_slli_epi64(_mm256_cvtepi32_epi64(h), 8));
    }
    __m256i* to = (__m256i*)(void*)(sums + 4 * half);
    if (add) x = _mm256_add_epi64(x, _mm256_loadu_si256(to));
    _mm256_storeu_si256(to, x);
  }
}

/* ------------------------------------------------------------------------------------------------------- NEON */
#elif defined(HAI_VECTOR_NEON)
#define HAI_LANES64 2
typedef float64x2_t dvec;

HAI_INLINE dvec d_set(double x) { return vdupq_n_f64(x); }
HAI_INLINE dvec d_load(const double* p) { return vld1q_f64(p); }
HAI_INLINE dvec d_from_f32(const float* p) { return vcvt_f64_f32(vld1_f32(p)); }
HAI_INLINE dvec d_from_s16_n(const int16_t* p, int n) { /* n <= 2 */
  uint32_t bytes = 0;
  bytes_copy(&bytes, p, 2 * n);
  const int32x4_t wide = vmovl_s16(vreinterpret_s16_u32(vdup_n_u32(bytes)));
  return vcvtq_f64_s64(vmovl_s32(vget_low_s32(wide)));
}
HAI_INLINE dvec d_from_s16(const int16_t* p) { return d_from_s16_n(p, 2); }
HAI_INLINE dvec d_from_i(ivec x, const int part) {
  return vcvtq_f64_s64(vmovl_s32(part == 0 ? vget_low_s32(x) : vget_high_s32(x)));
}
HAI_INLINE dvec d_from_sum(const int64_t* a, const int64_t* b) {
  return vcvtq_f64_s64(vaddq_s64(vld1q_s64(a), vld1q_s64(b)));
}
HAI_INLINE dvec d_mul(dvec a, dvec b) { return vmulq_f64(a, b); }
HAI_INLINE dvec d_fma(dvec a, dvec b, dvec c) { return vfmaq_f64(c, a, b); }
HAI_INLINE dvec d_max(dvec bound, dvec x) { return vmaxq_f64(bound, x); }
HAI_INLINE dvec d_min(dvec bound, dvec x) { return vminq_f64(bound, x); }
HAI_INLINE void d_store_s16_n(int16_t* p, dvec x, int32_t zero_point, int n) {
  const int32x2_t q = vadd_s32(vmovn_s64(vcvtnq_s64_f64(x)), vdup_n_s32(zero_point));
  const uint32_t words = vget_lane_u32(vreinterpret_u32_s16(vmovn_s32(vcombine_s32(q, q))), 0);
  bytes_copy(p, &words, 2 * n);
}
HAI_INLINE void d_store_s16(int16_t* p, dvec x, int32_t zero_point) { d_store_s16_n(p, x, zero_point, 2); }
HAI_INLINE void d_store_f32(float* p, dvec x) { vst1_f32(p, vcvt_f32_f64(x)); }
HAI_INLINE void d_store_f32_n(float* p, dvec x, int n) {
  float part[2];
  vst1_f32(part, vcvt_f32_f64(x));
  bytes_copy(p, part, 4 * n);
}
HAI_INLINE void l_accumulate(int64_t* sums, ivec low, ivec high, const int wide, int add) {
  int64x2_t first = vmovl_s32(vget_low_s32(low));
  int64x2_t second = vmovl_s32(vget_high_s32(low));
  if (wide) {
    first = vaddq_s64(first, vshll_n_s32(vget_low_s32(high), 8));
    second = vaddq_s64(second, vshll_n_s32(vget_high_s32(high), 8));
  }
  if (add) {
    first = vaddq_s64(first, vld1q_s64(sums));
    second = vaddq_s64(second, vld1q_s64(sums + 2));
  }
  vst1q_s64(sums, first);
  vst1q_s64(sums + 2, second);
}

/* ----------------------------------------------------------------------------------------------------- scalar */
#else
#define HAI_LANES64 1
typedef double dvec;

HAI_INLINE dvec d_set(double x) { return x; }
HAI_INLINE dvec d_load(const double* p) { return *p; }
HAI_INLINE dvec d_from_f32(const float* p) { return (double)*p; }
HAI_INLINE dvec d_from_s16(const int16_t* p) { return (double)*p; }
HAI_INLINE dvec d_from_s16_n(const int16_t* p, int n) { return n > 0 ? (double)*p : 0.0; }
HAI_INLINE dvec d_from_i(ivec x, const int part) {
  (void)part; /* one lane */
  return (double)x;
}
HAI_INLINE dvec d_from_sum(const int64_t* a, const int64_t* b) {
  return (double)(int64_t)((uint64_t)*a + (uint64_t)*b);
}
HAI_INLINE dvec d_mul(dvec a, dvec b) { return a * b; }
HAI_INLINE dvec d_fma(dvec a, dvec b, dvec c) { return a * b + c; }
HAI_INLINE dvec d_max(dvec bound, dvec x) { return bound > x ? bound : x; }
HAI_INLINE dvec d_min(dvec bound, dvec x) { return bound < x ? bound : x; }
/* |x| < 2^51: adding 1.5 * 2^52 leaves no fraction bits, and the addition rounds. */
HAI_INLINE void d_store_s16(int16_t* p, dvec x, int32_t zero_point) {
  *p = (int16_t)((int32_t)((x + 6755399441055744.0) - 6755399441055744.0) + zero_point);
}
HAI_INLINE void d_store_s16_n(int16_t* p, dvec x, int32_t zero_point, int n) {
  if (n > 0) d_store_s16(p, x, zero_point);
}
HAI_INLINE void d_store_f32(float* p, dvec x) { *p = (float)x; }
HAI_INLINE void d_store_f32_n(float* p, dvec x, int n) {
  if (n > 0) *p = (float)x;
}
HAI_INLINE void l_accumulate(int64_t* sums, ivec low, ivec high, const int wide, int add) {
  *sums = (add ? *sums : 0) + low + (wide ? (int64_t)high * 256 : 0);
}
#endif

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_VECTOR64_H_ */

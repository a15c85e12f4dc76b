/* Vectors of one instruction set, for kernels that are written once and compiled for each.
 *
 * HAI_LANES floats or 32-bit integers a vector: `vec` (f32) and `ivec` (i32). Every function is static and inlined; the
 * `_n` forms touch only the first n < HAI_LANES elements in memory. v_max(bound, x) and v_min(bound, x) keep a NaN in
 * x. v_fma is fused everywhere but in scalar code, where no instruction does it.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_VECTOR_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_VECTOR_H_

#include <stdint.h>

#if defined(HAI_ISA_AVX512) || defined(HAI_ISA_AVX512VNNI)
#define HAI_VECTOR_AVX512 1
#elif defined(HAI_ISA_AVX2) || defined(HAI_ISA_AVX2VNNI)
#define HAI_VECTOR_AVX2 1
#elif defined(HAI_ISA_NEON) || defined(HAI_ISA_NEONDOT) || defined(HAI_ISA_NEONI8MM)
#define HAI_VECTOR_NEON 1
#else
#define HAI_VECTOR_SCALAR 1
#endif

#if defined(HAI_VECTOR_AVX512) || defined(HAI_VECTOR_AVX2)
#include <immintrin.h>
#elif defined(HAI_VECTOR_NEON)
#include <arm_neon.h>
#endif

#define HAI_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define HAI_UNROLL _Pragma("unroll")
#define HAI_NO_UNROLL _Pragma("nounroll")
#else
#define HAI_UNROLL _Pragma("GCC unroll 32")
#define HAI_NO_UNROLL _Pragma("GCC unroll 1")
#endif

/* Bytes in a loop that the compiler may not turn into a call. */
HAI_INLINE void bytes_copy(void* to, const void* from, int64_t count) { __builtin_memcpy(to, from, (uint64_t)count); }

/* ---------------------------------------------------------------------------------------------------- AVX-512 */
#if defined(HAI_VECTOR_AVX512)
#define HAI_LANES 16
typedef __m512 vec;
typedef __m512i ivec;
#define HAI_TAIL(n) ((__mmask16)((1U << (n)) - 1U))

HAI_INLINE vec v_zero(void) { return _mm512_setzero_ps(); }
HAI_INLINE vec v_set(float x) { return _mm512_set1_ps(x); }
HAI_INLINE vec v_load(const float* p) { return _mm512_loadu_ps(p); }
HAI_INLINE vec v_load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(HAI_TAIL(n), p); }
HAI_INLINE void v_store(float* p, vec x) { _mm512_storeu_ps(p, x); }
HAI_INLINE void v_store_n(float* p, vec x, int n) { _mm512_mask_storeu_ps(p, HAI_TAIL(n), x); }
HAI_INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
HAI_INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
HAI_INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
HAI_INLINE vec v_max(vec bound, vec x) { return _mm512_max_ps(bound, x); }
HAI_INLINE vec v_min(vec bound, vec x) { return _mm512_min_ps(bound, x); }
HAI_INLINE ivec i_zero(void) { return _mm512_setzero_si512(); }
HAI_INLINE ivec i_set(int32_t x) { return _mm512_set1_epi32(x); }
HAI_INLINE ivec i_load(const int32_t* p) { return _mm512_loadu_si512(p); }
HAI_INLINE void i_store(int32_t* p, ivec x) { _mm512_storeu_si512(p, x); }
HAI_INLINE ivec i_add(ivec a, ivec b) { return _mm512_add_epi32(a, b); }
HAI_INLINE vec v_from_i(ivec x) { return _mm512_cvtepi32_ps(x); }
HAI_INLINE ivec i_round(vec x) { return _mm512_cvtps_epi32(x); }  /* half to even; |x| <= 2^22 */
HAI_INLINE ivec i_exact(vec x) { return _mm512_cvttps_epi32(x); } /* x is an integer */
HAI_INLINE ivec i_load_s8(const int8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)(const void*)p));
}
HAI_INLINE ivec i_load_u8(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)(const void*)p));
}
HAI_INLINE ivec i_load_s16(const int16_t* p) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i*)(const void*)p));
}
/* sum + x * w in every lane, x and w being 16-bit integers; of w the upper half of the lane is zero, whatever its sign.
 */
HAI_INLINE ivec i_madd_s16(ivec sum, ivec x, ivec w) { return _mm512_add_epi32(sum, _mm512_madd_epi16(x, w)); }
HAI_INLINE ivec i_load_s8_n(const int8_t* p, int n) {
  return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(HAI_TAIL(n), p));
}
HAI_INLINE ivec i_load_u8_n(const uint8_t* p, int n) {
  return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(HAI_TAIL(n), p));
}
/* The low byte of each element. */
HAI_INLINE void i_store_bytes(uint8_t* p, ivec x) { _mm_storeu_si128((__m128i*)(void*)p, _mm512_cvtepi32_epi8(x)); }
HAI_INLINE void i_store_bytes_n(uint8_t* p, ivec x, int n) {
  _mm_mask_storeu_epi8(p, HAI_TAIL(n), _mm512_cvtepi32_epi8(x));
}
/* The low 16 bits of each element. */
HAI_INLINE void i_store_words(int16_t* p, ivec x) { _mm256_storeu_si256((__m256i*)(void*)p, _mm512_cvtepi32_epi16(x)); }
HAI_INLINE void i_store_words_n(int16_t* p, ivec x, int n) {
  _mm256_mask_storeu_epi16(p, HAI_TAIL(n), _mm512_cvtepi32_epi16(x));
}

/* ------------------------------------------------------------------------------------------------------- AVX2 */
#elif defined(HAI_VECTOR_AVX2)
#define HAI_LANES 8
typedef __m256 vec;
typedef __m256i ivec;

HAI_INLINE __m256i v_tail(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HAI_INLINE vec v_zero(void) { return _mm256_setzero_ps(); }
HAI_INLINE vec v_set(float x) { return _mm256_set1_ps(x); }
HAI_INLINE vec v_load(const float* p) { return _mm256_loadu_ps(p); }
HAI_INLINE vec v_load_n(const float* p, int n) { return _mm256_maskload_ps(p, v_tail(n)); }
HAI_INLINE void v_store(float* p, vec x) { _mm256_storeu_ps(p, x); }
HAI_INLINE void v_store_n(float* p, vec x, int n) { _mm256_maskstore_ps(p, v_tail(n), x); }
HAI_INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
HAI_INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
HAI_INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
HAI_INLINE vec v_max(vec bound, vec x) { return _mm256_max_ps(bound, x); }
HAI_INLINE vec v_min(vec bound, vec x) { return _mm256_min_ps(bound, x); }
HAI_INLINE ivec i_zero(void) { return _mm256_setzero_si256(); }
HAI_INLINE ivec i_set(int32_t x) { return _mm256_set1_epi32(x); }
HAI_INLINE ivec i_load(const int32_t* p) { return _mm256_loadu_si256((const __m256i*)(const void*)p); }
HAI_INLINE void i_store(int32_t* p, ivec x) { _mm256_storeu_si256((__m256i*)(void*)p, x); }
HAI_INLINE ivec i_add(ivec a, ivec b) { return _mm256_add_epi32(a, b); }
HAI_INLINE vec v_from_i(ivec x) { return _mm256_cvtepi32_ps(x); }
HAI_INLINE ivec i_round(vec x) { return _mm256_cvtps_epi32(x); }
HAI_INLINE ivec i_exact(vec x) { return _mm256_cvttps_epi32(x); }
HAI_INLINE __m128i bytes_load_n(const void* p, int n) { /* n <= 8 */
  uint64_t bytes = 0;
  bytes_copy(&bytes, p, n);
  return _mm_cvtsi64_si128((long long)bytes);
}
HAI_INLINE ivec i_load_s8(const int8_t* p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(const void*)p));
}
HAI_INLINE ivec i_load_u8(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)(const void*)p));
}
HAI_INLINE ivec i_load_s16(const int16_t* p) {
  return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i*)(const void*)p));
}
HAI_INLINE ivec i_madd_s16(ivec sum, ivec x, ivec w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)); }
HAI_INLINE ivec i_load_s8_n(const int8_t* p, int n) { return _mm256_cvtepi8_epi32(bytes_load_n(p, n)); }
HAI_INLINE ivec i_load_u8_n(const uint8_t* p, int n) { return _mm256_cvtepu8_epi32(bytes_load_n(p, n)); }
HAI_INLINE __m128i i_bytes(ivec x) {
  const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(0xff));
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  return _mm_packus_epi16(words, words);
}
HAI_INLINE void i_store_bytes(uint8_t* p, ivec x) { _mm_storel_epi64((__m128i*)(void*)p, i_bytes(x)); }
HAI_INLINE void i_store_bytes_n(uint8_t* p, ivec x, int n) {
  const long long bytes = _mm_cvtsi128_si64(i_bytes(x));
  bytes_copy(p, &bytes, n);
}
HAI_INLINE void i_store_words(int16_t* p, ivec x) {
  const __m256i signs = _mm256_srai_epi32(_mm256_slli_epi32(x, 16), 16); /* so that the packing saturates nothing */
  _mm_storeu_si128((__m128i*)(void*)p,
                   _mm_packs_epi32(_mm256_castsi256_si128(signs), _mm256_extracti128_si256(signs, 1)));
}
HAI_INLINE void i_store_words_n(int16_t* p, ivec x, int n) {
  int16_t part[8];
  i_store_words(part, x);
  bytes_copy(p, part, 2 * n);
}

/* ------------------------------------------------------------------------------------------------------- NEON */
#elif defined(HAI_VECTOR_NEON)
#define HAI_LANES 4
typedef float32x4_t vec;
typedef int32x4_t ivec;

HAI_INLINE vec v_zero(void) { return vdupq_n_f32(0.0F); }
HAI_INLINE vec v_set(float x) { return vdupq_n_f32(x); }
HAI_INLINE vec v_load(const float* p) { return vld1q_f32(p); }
HAI_INLINE vec v_load_n(const float* p, int n) {
  float part[4] = {0.0F, 0.0F, 0.0F, 0.0F};
  bytes_copy(part, p, n * 4);
  return vld1q_f32(part);
}
HAI_INLINE void v_store(float* p, vec x) { vst1q_f32(p, x); }
HAI_INLINE void v_store_n(float* p, vec x, int n) {
  float part[4];
  vst1q_f32(part, x);
  bytes_copy(p, part, n * 4);
}
HAI_INLINE vec v_add(vec a, vec b) { return vaddq_f32(a, b); }
HAI_INLINE vec v_mul(vec a, vec b) { return vmulq_f32(a, b); }
HAI_INLINE vec v_fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
HAI_INLINE vec v_max(vec bound, vec x) { return vmaxq_f32(bound, x); }
HAI_INLINE vec v_min(vec bound, vec x) { return vminq_f32(bound, x); }
HAI_INLINE ivec i_zero(void) { return vdupq_n_s32(0); }
HAI_INLINE ivec i_set(int32_t x) { return vdupq_n_s32(x); }
HAI_INLINE ivec i_load(const int32_t* p) { return vld1q_s32(p); }
HAI_INLINE void i_store(int32_t* p, ivec x) { vst1q_s32(p, x); }
HAI_INLINE ivec i_add(ivec a, ivec b) { return vaddq_s32(a, b); }
HAI_INLINE vec v_from_i(ivec x) { return vcvtq_f32_s32(x); }
HAI_INLINE ivec i_round(vec x) { return vcvtnq_s32_f32(x); }
HAI_INLINE ivec i_exact(vec x) { return vcvtq_s32_f32(x); }
HAI_INLINE int8x8_t bytes_load_n(const void* p, int n) { /* n <= 4 */
  uint32_t bytes = 0;
  bytes_copy(&bytes, p, n);
  return vreinterpret_s8_u32(vdup_n_u32(bytes));
}
HAI_INLINE ivec i_load_s8_n(const int8_t* p, int n) { return vmovl_s16(vget_low_s16(vmovl_s8(bytes_load_n(p, n)))); }
HAI_INLINE ivec i_load_u8_n(const uint8_t* p, int n) {
  const uint16x8_t words = vmovl_u8(vreinterpret_u8_s8(bytes_load_n(p, n)));
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words)));
}
HAI_INLINE ivec i_load_s8(const int8_t* p) { return i_load_s8_n(p, 4); }
HAI_INLINE ivec i_load_s16(const int16_t* p) { return vmovl_s16(vld1_s16(p)); }
HAI_INLINE ivec i_madd_s16(ivec sum, ivec x, ivec w) { return vmlal_s16(sum, vmovn_s32(x), vmovn_s32(w)); }
HAI_INLINE ivec i_load_u8(const uint8_t* p) { return i_load_u8_n(p, 4); }
HAI_INLINE void i_store_bytes_n(uint8_t* p, ivec x, int n) {
  const int16x4_t words = vmovn_s32(x);
  const uint32_t bytes = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
  bytes_copy(p, &bytes, n);
}
HAI_INLINE void i_store_bytes(uint8_t* p, ivec x) { i_store_bytes_n(p, x, 4); }
HAI_INLINE void i_store_words(int16_t* p, ivec x) { vst1_s16(p, vmovn_s32(x)); }
HAI_INLINE void i_store_words_n(int16_t* p, ivec x, int n) {
  int16_t part[4];
  vst1_s16(part, vmovn_s32(x));
  bytes_copy(p, part, 2 * n);
}

/* ----------------------------------------------------------------------------------------------------- scalar */
#else
#define HAI_LANES 1
typedef float vec;
typedef int32_t ivec;

HAI_INLINE vec v_zero(void) { return 0.0F; }
HAI_INLINE vec v_set(float x) { return x; }
HAI_INLINE vec v_load(const float* p) { return *p; }
HAI_INLINE vec v_load_n(const float* p, int n) { return n > 0 ? *p : 0.0F; }
HAI_INLINE void v_store(float* p, vec x) { *p = x; }
HAI_INLINE void v_store_n(float* p, vec x, int n) {
  if (n > 0) *p = x;
}
HAI_INLINE vec v_add(vec a, vec b) { return a + b; }
HAI_INLINE vec v_mul(vec a, vec b) { return a * b; }
HAI_INLINE vec v_fma(vec a, vec b, vec c) { return a * b + c; }
HAI_INLINE vec v_max(vec bound, vec x) { return bound > x ? bound : x; }
HAI_INLINE vec v_min(vec bound, vec x) { return bound < x ? bound : x; }
HAI_INLINE ivec i_zero(void) { return 0; }
HAI_INLINE ivec i_set(int32_t x) { return x; }
HAI_INLINE ivec i_load(const int32_t* p) { return *p; }
HAI_INLINE void i_store(int32_t* p, ivec x) { *p = x; }
HAI_INLINE ivec i_add(ivec a, ivec b) { return (ivec)((uint32_t)a + (uint32_t)b); }
HAI_INLINE vec v_from_i(ivec x) { return (float)x; }
/* |x| <= 2^22: adding 1.5 * 2^23 leaves no fraction bits, and the addition rounds. */
HAI_INLINE ivec i_round(vec x) { return (ivec)((x + 12582912.0F) - 12582912.0F); }
HAI_INLINE ivec i_exact(vec x) { return (ivec)x; }
HAI_INLINE ivec i_load_s8(const int8_t* p) { return *p; }
HAI_INLINE ivec i_load_s16(const int16_t* p) { return *p; }
HAI_INLINE ivec i_madd_s16(ivec sum, ivec x, ivec w) { return sum + x * (int16_t)w; }
HAI_INLINE ivec i_load_u8(const uint8_t* p) { return *p; }
HAI_INLINE ivec i_load_s8_n(const int8_t* p, int n) { return n > 0 ? *p : 0; }
HAI_INLINE ivec i_load_u8_n(const uint8_t* p, int n) { return n > 0 ? *p : 0; }
HAI_INLINE void i_store_bytes(uint8_t* p, ivec x) { *p = (uint8_t)x; }
HAI_INLINE void i_store_bytes_n(uint8_t* p, ivec x, int n) {
  if (n > 0) *p = (uint8_t)x;
}
HAI_INLINE void i_store_words(int16_t* p, ivec x) { *p = (int16_t)x; }
HAI_INLINE void i_store_words_n(int16_t* p, ivec x, int n) {
  if (n > 0) *p = (int16_t)x;
}
#endif

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_VECTOR_H_ */

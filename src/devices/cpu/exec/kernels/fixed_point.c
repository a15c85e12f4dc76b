/* fixed_point_rows: sums of a convolution or matrix product rounded as TensorFlow Lite does, for imported integer
 * models.
 *
 * Method: hai_fixed_point_steps (types/fixed_point.h) on each sum of a tile, eight columns at a time where the set has
 * vectors of f64 with a floor: the same products, sums and clamps in the same order, so the same bits. Such blocks may
 * reach past the last column where rows have room for it; there the arrays hold padding. Not for models that HAI
 * quantizes.
 */
#include "types/fixed_point.h"
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/epilogue.h"
#include "devices/cpu/exec/kernels/vector.h"

#define BLOCK 8

#if defined(HAI_VECTOR_AVX512)
HAI_INLINE __m256i block_steps(__m256i sums, const double* factor, const double* unit, double lo, double hi) {
  const __m512d half = _mm512_set1_pd(0.5);
  const __m512d scaled = _mm512_mul_pd(_mm512_cvtepi32_pd(sums), _mm512_loadu_pd(factor));
  const __m512d whole = _mm512_roundscale_pd(_mm512_add_pd(scaled, half), _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  const __m512d t = _mm512_mul_pd(whole, _mm512_loadu_pd(unit));
  const __m512d clamped = _mm512_min_pd(_mm512_max_pd(t, _mm512_set1_pd(lo)), _mm512_set1_pd(hi));
  const __m512d sign = _mm512_and_pd(clamped, _mm512_set1_pd(-0.0));
  return _mm512_cvttpd_epi32(_mm512_add_pd(clamped, _mm512_or_pd(half, sign)));
}
#elif defined(HAI_VECTOR_AVX2)
HAI_INLINE __m128i four_steps(__m128i sums, const double* factor, const double* unit, double lo, double hi) {
  const __m256d half = _mm256_set1_pd(0.5);
  const __m256d scaled = _mm256_mul_pd(_mm256_cvtepi32_pd(sums), _mm256_loadu_pd(factor));
  const __m256d t = _mm256_mul_pd(_mm256_floor_pd(_mm256_add_pd(scaled, half)), _mm256_loadu_pd(unit));
  const __m256d clamped = _mm256_min_pd(_mm256_max_pd(t, _mm256_set1_pd(lo)), _mm256_set1_pd(hi));
  const __m256d sign = _mm256_and_pd(clamped, _mm256_set1_pd(-0.0));
  return _mm256_cvttpd_epi32(_mm256_add_pd(clamped, _mm256_or_pd(half, sign)));
}
HAI_INLINE __m256i block_steps(__m256i sums, const double* factor, const double* unit, double lo, double hi) {
  const __m128i low = four_steps(_mm256_castsi256_si128(sums), factor, unit, lo, hi);
  const __m128i high = four_steps(_mm256_extracti128_si256(sums, 1), factor + 4, unit + 4, lo, hi);
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}
#endif

#if defined(HAI_VECTOR_AVX512) || defined(HAI_VECTOR_AVX2)
/* Low bytes of eight integers. */
HAI_INLINE uint64_t low_bytes(__m256i q) {
  const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i packed = _mm256_shuffle_epi8(q, order);
  const uint32_t low = (uint32_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(packed));
  const uint32_t high = (uint32_t)_mm_cvtsi128_si32(_mm256_extracti128_si256(packed, 1));
  return ((uint64_t)high << 32) | low;
}

HAI_INLINE int32_t vector_columns(const hai_fixed_rows* r, int32_t* sums, uint8_t* out) {
  if (r->sums_stride % BLOCK != 0) return 0;
  const double lo = (double)r->lo;
  const double hi = (double)r->hi;
  const __m256i zero_point = _mm256_set1_epi32(r->zero_point);
  int32_t c = 0;
  for (; c < r->cols; c += BLOCK) {
    const __m256i sum = _mm256_add_epi32(_mm256_loadu_si256((const __m256i*)(const void*)(sums + c)),
                                         _mm256_loadu_si256((const __m256i*)(const void*)(r->bias + c)));
    const __m256i q = block_steps(sum, r->factor + c, r->unit + c, lo, hi);
    if (out == 0) {
      _mm256_storeu_si256((__m256i*)(void*)(sums + c), q);
      continue;
    }
    const uint64_t bytes = low_bytes(_mm256_add_epi32(q, zero_point));
    const int32_t left = r->cols - c;
    for (int32_t i = 0; i < (left < BLOCK ? left : 0); ++i) out[c + i] = (uint8_t)(bytes >> (8 * i));
    if (left >= BLOCK) __builtin_memcpy(out + c, &bytes, sizeof bytes);
  }
  return c;
}
#else
HAI_INLINE int32_t vector_columns(const hai_fixed_rows* r, int32_t* sums, uint8_t* out) {
  (void)r;
  (void)sums;
  (void)out;
  return 0;
}
#endif

void HAI_KERNEL(fixed_point_rows)(const hai_fixed_rows* given);
void HAI_KERNEL(fixed_point_rows)(const hai_fixed_rows* given) {
  const hai_fixed_rows copy = *given; /* stores cannot change it */
  const hai_fixed_rows* r = &copy;
  for (int32_t m = 0; m < r->rows; ++m) {
    int32_t* sums = r->sums + m * r->sums_stride;
    uint8_t* out = r->out == 0 ? 0 : r->out + m * r->out_stride;
    for (int32_t c = vector_columns(r, sums, out); c < r->cols; ++c) {
      const int32_t sum = (int32_t)((uint32_t)sums[c] + (uint32_t)r->bias[c]);
      const int32_t q = hai_fixed_point_steps(sum, r->factor[c], r->unit[c], (double)r->lo, (double)r->hi);
      if (out == 0) {
        sums[c] = q;
      } else {
        out[c] = (uint8_t)(q + r->zero_point);
      }
    }
  }
}

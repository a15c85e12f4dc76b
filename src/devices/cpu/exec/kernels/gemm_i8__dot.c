/* gemm_s8_s8_s32: integer tiles, weights i8, activations 8 bits, sums i32. The contract is in gemm.h.
 *
 * With dot-product instructions (vpdpbusd, sdot) a step is 4 ks; x86 wants the activations unsigned, which the packing
 * provides (q + 128) and the bias corrects. Without them, activations are packed as 16 bits and multiplied exactly
 * (vpmaddwd, vmlal): vpmaddubsw would saturate. neoni8mm uses sdot.
 */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/gemm.h"
#include "devices/cpu/exec/kernels/gemm_rows.h"
#include "devices/cpu/exec/kernels/gemm_tile.h"
#include "devices/cpu/exec/kernels/vector.h"

/* Rows begin at any byte. */
HAI_INLINE int32_t load_i32(const void* p) {
  int32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

/* left_vec: one step of a row, in every lane. right_vec: one step of HAI_LANES columns. */
#if defined(HAI_ISA_AVX512VNNI)
#define K_GROUP 4
#define LEFT HAI_GEMM_LEFT_U8
typedef ivec left_vec;
typedef ivec right_vec;
HAI_INLINE left_vec load_left(const void* p) { return _mm512_set1_epi32(load_i32(p)); }
HAI_INLINE right_vec load_right(const int8_t* p) { return _mm512_loadu_si512(p); }
HAI_INLINE ivec dot(ivec sum, left_vec a, right_vec b) { return _mm512_dpbusd_epi32(sum, a, b); }
#elif defined(HAI_ISA_AVX2VNNI)
#define K_GROUP 4
#define LEFT HAI_GEMM_LEFT_U8
typedef ivec left_vec;
typedef ivec right_vec;
HAI_INLINE left_vec load_left(const void* p) { return _mm256_set1_epi32(load_i32(p)); }
HAI_INLINE right_vec load_right(const int8_t* p) { return _mm256_loadu_si256((const __m256i*)(const void*)p); }
HAI_INLINE ivec dot(ivec sum, left_vec a, right_vec b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
#elif defined(HAI_ISA_AVX512)
#define K_GROUP 2
#define LEFT HAI_GEMM_LEFT_S16
typedef ivec left_vec;
typedef ivec right_vec;
HAI_INLINE left_vec load_left(const void* p) { return _mm512_set1_epi32(load_i32(p)); }
HAI_INLINE right_vec load_right(const int8_t* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)(const void*)p));
}
HAI_INLINE ivec dot(ivec sum, left_vec a, right_vec b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
#elif defined(HAI_ISA_AVX2)
#define K_GROUP 2
#define LEFT HAI_GEMM_LEFT_S16
typedef ivec left_vec;
typedef ivec right_vec;
HAI_INLINE left_vec load_left(const void* p) { return _mm256_set1_epi32(load_i32(p)); }
HAI_INLINE right_vec load_right(const int8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(const void*)p));
}
HAI_INLINE ivec dot(ivec sum, left_vec a, right_vec b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
#elif defined(HAI_ISA_NEONDOT) || defined(HAI_ISA_NEONI8MM)
#define K_GROUP 4
#define LEFT HAI_GEMM_LEFT_S8
typedef int8x16_t left_vec;
typedef int8x16_t right_vec;
HAI_INLINE left_vec load_left(const void* p) { return vreinterpretq_s8_s32(vdupq_n_s32(load_i32(p))); }
HAI_INLINE right_vec load_right(const int8_t* p) { return vld1q_s8(p); }
HAI_INLINE ivec dot(ivec sum, left_vec a, right_vec b) { return vdotq_s32(sum, b, a); }
#elif defined(HAI_ISA_NEON)
#define K_GROUP 1
#define LEFT HAI_GEMM_LEFT_S16
typedef int16x4_t left_vec;
typedef int16x4_t right_vec;
HAI_INLINE left_vec load_left(const void* p) { return vld1_dup_s16((const int16_t*)p); }
HAI_INLINE right_vec load_right(const int8_t* p) {
  return vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(load_i32(p)))));
}
HAI_INLINE ivec dot(ivec sum, left_vec a, right_vec b) { return vmlal_s16(sum, a, b); }
#else
#define K_GROUP 1
#define LEFT HAI_GEMM_LEFT_S16
typedef int32_t left_vec;
typedef int32_t right_vec;
HAI_INLINE left_vec load_left(const void* p) { return *(const int16_t*)p; }
HAI_INLINE right_vec load_right(const int8_t* p) { return *p; }
HAI_INLINE ivec dot(ivec sum, left_vec a, right_vec b) { return i_add(sum, a * b); }
#endif
#define LEFT_STEP_BYTES (LEFT == HAI_GEMM_LEFT_S16 ? 2 * K_GROUP : K_GROUP)

HAI_INLINE void store_requantized(const hai_gemm_i8_tile* tile, ivec sum[MR][NV], const int rows, const int vectors) {
  const vec lo = v_set(tile->lo);
  const vec hi = v_set(tile->hi);
  const ivec zero_point = i_set(tile->zero_point);
  const int64_t out_stride = tile->out_stride;
  const int cols = tile->in.cols;
  HAI_UNROLL
  for (int v = 0; v < vectors; ++v) {
    const int left = cols - v * HAI_LANES;
    const ivec bias = i_load(tile->bias + v * HAI_LANES);
    const vec multiplier = v_load(tile->multiplier + v * HAI_LANES);
    uint8_t* out = tile->out + v * HAI_LANES;
    HAI_UNROLL
    for (int m = 0; m < rows; ++m) {
      const vec real = v_mul(v_from_i(i_add(sum[m][v], bias)), multiplier);
      const ivec q = i_add(i_round(v_min(hi, v_max(lo, real))), zero_point);
      if (left >= HAI_LANES) {
        i_store_bytes(out, q);
      } else if (left > 0) {
        i_store_bytes_n(out, q, left);
      }
      out += out_stride;
    }
  }
}

HAI_INLINE void run_rows(const hai_gemm_i8_tile* given, const int rows, const int vectors) {
  const hai_gemm_i8_tile copy = *given; /* stores of bytes cannot change it */
  const hai_gemm_i8_tile* tile = &copy;
  ivec sum[MR][NV];
  HAI_UNROLL
  for (int m = 0; m < rows; ++m) {
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) {
      sum[m][v] = tile->accumulate ? i_load(tile->sums + m * NR + v * HAI_LANES) : i_zero();
    }
  }

  const int8_t* panel = (const int8_t*)tile->in.panel;
  for (int64_t s = 0; s < tile->in.segment_count; ++s) {
    row_pointers rows_at = first_rows((const char*)tile->in.segments[s], tile->in.row_stride_bytes, rows);
    for (int64_t k = tile->in.segment_steps; k > 0; --k) {
      right_vec b[NV];
      HAI_UNROLL
      for (int v = 0; v < vectors; ++v) b[v] = load_right(panel + v * HAI_LANES * K_GROUP);
      HAI_UNROLL
      for (int m = 0; m < rows; ++m) {
        const left_vec a = load_left(row_at(&rows_at, m));
        HAI_UNROLL
        for (int v = 0; v < vectors; ++v) sum[m][v] = dot(sum[m][v], a, b[v]);
      }
      panel += NR * K_GROUP;
      advance_rows(&rows_at, LEFT_STEP_BYTES, rows);
    }
  }

  if (tile->out != 0) {
    store_requantized(tile, sum, rows, vectors);
    return;
  }
  HAI_UNROLL
  for (int m = 0; m < rows; ++m) {
    HAI_UNROLL
    for (int v = 0; v < vectors; ++v) i_store(tile->sums + m * NR + v * HAI_LANES, sum[m][v]);
  }
}

static void HAI_KERNEL(gemm_s8_s8_s32_tile)(const hai_gemm_i8_tile* tile) {
#if NV == 2
  if (tile->in.cols <= HAI_LANES) {
    switch (tile->in.rows) { HAI_FOR_EACH_ROW_COUNT(run_rows, tile, 1) }
    return;
  }
#endif
  switch (tile->in.rows) { HAI_FOR_EACH_ROW_COUNT(run_rows, tile, NV) }
}

const hai_gemm_kernel* HAI_KERNEL(gemm_s8_s8_s32)(void);
const hai_gemm_kernel* HAI_KERNEL(gemm_s8_s8_s32)(void) {
  static const hai_gemm_kernel kernel = {
      "gemm_s8_s8_s32__" TEXT(HAI_ISA) TILE_NAME, MR, NR, K_GROUP, LEFT, 0, HAI_KERNEL(gemm_s8_s8_s32_tile), 0};
  return &kernel;
}

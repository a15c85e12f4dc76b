/* gemm_s16_s8, gemm_s16_s16: integer tiles, activations i16, weights i8 or i16, sums i64. The contract is in gemm.h.
 *
 * Pairs of products are exact in 32 bits (vpmaddwd, vpdpwssd, vmlal). i8 weights are widened in the register. i16
 * weights are split there into 256 * high + low, high signed and low unsigned, with one 32-bit sum for each: two
 * products of 24 bits cost less than widening each product of 31 bits to 64. After most_steps steps, and at the end,
 * the 32-bit sums go over the stack into the i64 sums, in a rolled loop: it runs once in a hundred steps.
 */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/gemm.h"
#include "devices/cpu/exec/kernels/gemm_rows.h"
#include "devices/cpu/exec/kernels/gemm_tile.h"
#include "devices/cpu/exec/kernels/vector64.h"

/* Vectors of columns: narrow (i8 weights), and wide (i16 weights), whose sums take two registers each. */
#define NARROW NV
#define WIDE (NV / 2)
#if defined(HAI_VECTOR_AVX512)
#define TILE_WIDE "_14x16"
#elif defined(HAI_VECTOR_AVX2)
#define TILE_WIDE "_6x8"
#elif defined(HAI_VECTOR_NEON)
#define TILE_WIDE "_8x4"
#else
#define TILE_WIDE "_4x4"
#endif

/* step_vec: a step of one row in every lane, or of HAI_LANES columns, as 16-bit integers. */
#if defined(HAI_VECTOR_AVX512)
#define K_GROUP 2
typedef ivec step_vec;
HAI_INLINE step_vec load_left(const char* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, sizeof(pair));
  return _mm512_set1_epi32(pair);
}
HAI_INLINE step_vec load_s8(const char* p) {
  return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i*)(const void*)p));
}
HAI_INLINE step_vec load_s16(const char* p) { return _mm512_loadu_si512(p); }
HAI_INLINE step_vec high_of(step_vec x) { return _mm512_srai_epi16(x, 8); }
HAI_INLINE step_vec low_of(step_vec x) { return _mm512_and_si512(x, _mm512_set1_epi16(0xff)); }
#if defined(HAI_ISA_AVX512VNNI)
HAI_INLINE ivec dot(ivec sum, step_vec a, step_vec b) { return _mm512_dpwssd_epi32(sum, a, b); }
#else
HAI_INLINE ivec dot(ivec sum, step_vec a, step_vec b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
#endif
#elif defined(HAI_VECTOR_AVX2)
#define K_GROUP 2
typedef ivec step_vec;
HAI_INLINE step_vec load_left(const char* p) {
  int32_t pair;
  __builtin_memcpy(&pair, p, sizeof(pair));
  return _mm256_set1_epi32(pair);
}
HAI_INLINE step_vec load_s8(const char* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)(const void*)p));
}
HAI_INLINE step_vec load_s16(const char* p) { return _mm256_loadu_si256((const __m256i*)(const void*)p); }
HAI_INLINE step_vec high_of(step_vec x) { return _mm256_srai_epi16(x, 8); }
HAI_INLINE step_vec low_of(step_vec x) { return _mm256_and_si256(x, _mm256_set1_epi16(0xff)); }
#if defined(HAI_ISA_AVX2VNNI)
HAI_INLINE ivec dot(ivec sum, step_vec a, step_vec b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }
#else
HAI_INLINE ivec dot(ivec sum, step_vec a, step_vec b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
#endif
#elif defined(HAI_VECTOR_NEON)
#define K_GROUP 1
typedef int16x4_t step_vec;
HAI_INLINE step_vec load_left(const char* p) { return vld1_dup_s16((const int16_t*)(const void*)p); }
HAI_INLINE step_vec load_s8(const char* p) {
  int32_t bytes;
  __builtin_memcpy(&bytes, p, sizeof(bytes));
  return vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(bytes))));
}
HAI_INLINE step_vec load_s16(const char* p) { return vld1_s16((const int16_t*)(const void*)p); }
HAI_INLINE step_vec high_of(step_vec x) { return vshr_n_s16(x, 8); }
HAI_INLINE step_vec low_of(step_vec x) { return vand_s16(x, vdup_n_s16(0xff)); }
HAI_INLINE ivec dot(ivec sum, step_vec a, step_vec b) { return vmlal_s16(sum, a, b); }
#else
#define K_GROUP 1
typedef int32_t step_vec;
HAI_INLINE step_vec load_left(const char* p) { return *(const int16_t*)(const void*)p; }
HAI_INLINE step_vec load_s8(const char* p) { return *(const int8_t*)p; }
HAI_INLINE step_vec load_s16(const char* p) { return *(const int16_t*)(const void*)p; }
HAI_INLINE step_vec high_of(step_vec x) { return x >> 8; }
HAI_INLINE step_vec low_of(step_vec x) { return x & 0xff; }
HAI_INLINE ivec dot(ivec sum, step_vec a, step_vec b) { return sum + a * b; }
#endif

/* The 32-bit sums of a tile on their way to 64 bits. */
typedef struct {
  int32_t low[MR * NARROW * HAI_LANES];
  int32_t high[MR * WIDE * HAI_LANES];
} spilled_sums;

HAI_INLINE void add_spilled(const hai_gemm_s16_tile* tile, const spilled_sums* from, const int rows, const int vectors,
                            const int wide, int add) {
  const int nr = (wide ? WIDE : NARROW) * HAI_LANES;
  HAI_NO_UNROLL
  for (int i = 0; i < rows * vectors; ++i) {
    int64_t* sums = tile->sums + i / vectors * nr + i % vectors * HAI_LANES;
    l_accumulate(sums, i_load(from->low + i * HAI_LANES), wide ? i_load(from->high + i * HAI_LANES) : i_zero(), wide,
                 add);
  }
}

HAI_INLINE void run_rows(const hai_gemm_s16_tile* tile, const int rows, const int vectors, const int wide) {
  const int columns = wide ? WIDE : NARROW;
  ivec low[MR][NARROW];
  ivec high[MR][WIDE];
  spilled_sums spilled;
  const char* panel = (const char*)tile->in.panel;
  int64_t budget = tile->most_steps;
  int add = 0;
  HAI_UNROLL
  for (int i = 0; i < rows * vectors; ++i) {
    low[i / vectors][i % vectors] = i_zero();
    if (wide) high[i / vectors][i % vectors] = i_zero();
  }
  for (int64_t s = 0; s <= tile->in.segment_count; ++s) {
    const int last = s == tile->in.segment_count;          /* one more round, to spill what is left */
    const void* segment = tile->in.segments[last ? 0 : s]; /* the last round reads nothing */
    row_pointers rows_at = first_rows((const char*)segment, tile->in.row_stride_bytes, rows);
    int64_t left = last ? 0 : tile->in.segment_steps;
    do {
      if (budget == 0 || last) {
        HAI_UNROLL
        for (int i = 0; i < rows * vectors; ++i) {
          i_store(spilled.low + i * HAI_LANES, low[i / vectors][i % vectors]);
          low[i / vectors][i % vectors] = i_zero();
          if (!wide) continue;
          i_store(spilled.high + i * HAI_LANES, high[i / vectors][i % vectors]);
          high[i / vectors][i % vectors] = i_zero();
        }
        add_spilled(tile, &spilled, rows, vectors, wide, add);
        add = 1;
        budget = tile->most_steps;
      }
      const int64_t steps = left < budget ? left : budget;
      for (int64_t k = steps; k > 0; --k) {
        step_vec b[NARROW];
        step_vec b_high[WIDE];
        HAI_UNROLL
        for (int v = 0; v < vectors; ++v) {
          if (wide) {
            const step_vec both = load_s16(panel + v * HAI_LANES * K_GROUP * 2);
            b[v] = low_of(both);
            b_high[v] = high_of(both);
          } else {
            b[v] = load_s8(panel + v * HAI_LANES * K_GROUP);
          }
        }
        HAI_UNROLL
        for (int m = 0; m < rows; ++m) {
          const step_vec a = load_left(row_at(&rows_at, m));
          HAI_UNROLL
          for (int v = 0; v < vectors; ++v) {
            low[m][v] = dot(low[m][v], a, b[v]);
            if (wide) high[m][v] = dot(high[m][v], a, b_high[v]);
          }
        }
        panel += columns * HAI_LANES * K_GROUP * (wide ? 2 : 1);
        advance_rows(&rows_at, 2 * K_GROUP, rows);
      }
      left -= steps;
      budget -= steps;
    } while (left > 0);
  }
}

#define RUN_NARROW(tile, rows, vectors) run_rows(tile, rows, vectors, 0)
#define RUN_WIDE(tile, rows, vectors) run_rows(tile, rows, vectors, 1)

static void HAI_KERNEL(gemm_s16_s8_tile)(const hai_gemm_s16_tile* tile) {
#if NARROW == 2
  if (tile->in.cols <= HAI_LANES) {
    switch (tile->in.rows) { HAI_FOR_EACH_ROW_COUNT(RUN_NARROW, tile, 1) }
    return;
  }
#endif
  switch (tile->in.rows) { HAI_FOR_EACH_ROW_COUNT(RUN_NARROW, tile, NARROW) }
}

static void HAI_KERNEL(gemm_s16_s16_tile)(const hai_gemm_s16_tile* tile) {
  switch (tile->in.rows) { HAI_FOR_EACH_ROW_COUNT(RUN_WIDE, tile, WIDE) }
}

const hai_gemm_kernel* HAI_KERNEL(gemm_s16_s8)(void);
const hai_gemm_kernel* HAI_KERNEL(gemm_s16_s8)(void) {
  static const hai_gemm_kernel kernel = {"gemm_s16_s8__" TEXT(HAI_ISA) TILE_NAME,
                                         MR,
                                         NARROW * HAI_LANES,
                                         K_GROUP,
                                         HAI_GEMM_LEFT_S16,
                                         0,
                                         0,
                                         HAI_KERNEL(gemm_s16_s8_tile)};
  return &kernel;
}

const hai_gemm_kernel* HAI_KERNEL(gemm_s16_s16)(void);
const hai_gemm_kernel* HAI_KERNEL(gemm_s16_s16)(void) {
  static const hai_gemm_kernel kernel = {"gemm_s16_s16__" TEXT(HAI_ISA) TILE_WIDE,
                                         MR,
                                         WIDE * HAI_LANES,
                                         K_GROUP,
                                         HAI_GEMM_LEFT_S16,
                                         0,
                                         0,
                                         HAI_KERNEL(gemm_s16_s16_tile)};
  return &kernel;
}

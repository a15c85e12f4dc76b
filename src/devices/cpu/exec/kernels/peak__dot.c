/* peak_f32, peak_i8: multiply-accumulates on registers alone, the measured limit that kernels are compared with.
 *
 * Independent chains, enough of them to hide the latency of any core. Returns a value that depends on all of them, so
 * that no compiler removes the loop; *macs is how many multiply-accumulates were done.
 */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

#define CHAINS 12

float HAI_KERNEL(peak_f32)(int64_t rounds, int64_t* macs);
float HAI_KERNEL(peak_f32)(int64_t rounds, int64_t* macs) {
  vec sum[CHAINS];
  const vec a = v_set(0.999F);
  const vec b = v_set(0.001F);
  HAI_UNROLL
  for (int i = 0; i < CHAINS; ++i) sum[i] = v_set((float)i);
  for (int64_t r = 0; r < rounds; ++r) {
    HAI_UNROLL
    for (int i = 0; i < CHAINS; ++i) sum[i] = v_fma(sum[i], a, b);
  }
  vec total = sum[0];
  HAI_UNROLL
  for (int i = 1; i < CHAINS; ++i) total = v_add(total, sum[i]);
  float lanes[HAI_LANES];
  v_store(lanes, total);
  *macs = rounds * CHAINS * HAI_LANES;
  return lanes[0];
}

#if defined(HAI_ISA_AVX512VNNI)
#define MACS_A_LANE 4
HAI_INLINE ivec step(ivec sum, ivec a, ivec b) { return _mm512_dpbusd_epi32(sum, a, b); }
#elif defined(HAI_ISA_AVX2VNNI)
#define MACS_A_LANE 4
HAI_INLINE ivec step(ivec sum, ivec a, ivec b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
#elif defined(HAI_ISA_AVX512)
#define MACS_A_LANE 2
HAI_INLINE ivec step(ivec sum, ivec a, ivec b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
#elif defined(HAI_ISA_AVX2)
#define MACS_A_LANE 2
HAI_INLINE ivec step(ivec sum, ivec a, ivec b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
#elif defined(HAI_ISA_NEONDOT) || defined(HAI_ISA_NEONI8MM)
#define MACS_A_LANE 4
HAI_INLINE ivec step(ivec sum, ivec a, ivec b) {
  return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
}
#elif defined(HAI_ISA_NEON)
#define MACS_A_LANE 1
HAI_INLINE ivec step(ivec sum, ivec a, ivec b) {
  return vmlal_s16(sum, vget_low_s16(vreinterpretq_s16_s32(a)), vget_low_s16(vreinterpretq_s16_s32(b)));
}
#else
#define MACS_A_LANE 1
HAI_INLINE ivec step(ivec sum, ivec a, ivec b) { return i_add(sum, (int16_t)a * (int16_t)b); }
#endif

int32_t HAI_KERNEL(peak_i8)(int64_t rounds, int64_t* macs);
int32_t HAI_KERNEL(peak_i8)(int64_t rounds, int64_t* macs) {
  ivec sum[CHAINS];
  ivec a = i_set(0x01010101);
  const ivec b = i_set(0x02fe01ff);
  HAI_UNROLL
  for (int i = 0; i < CHAINS; ++i) sum[i] = i_set(i);
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : "+m"(a)); /* the product is not loop-invariant */
    HAI_UNROLL
    for (int i = 0; i < CHAINS; ++i) sum[i] = step(sum[i], a, b);
  }
  ivec total = sum[0];
  HAI_UNROLL
  for (int i = 1; i < CHAINS; ++i) total = i_add(total, sum[i]);
  int32_t lanes[HAI_LANES];
  i_store(lanes, total);
  *macs = rounds * CHAINS * HAI_LANES * MACS_A_LANE;
  return lanes[0];
}

/* Vectors (exec/kernels/vector.h) as training needs them: a difference, a select, and stores past the caches, for
 * sweeps over tensors that are larger than the last cache: a line that is written whole need not be read first. */
#ifndef HAI_DEVICES_CPU_TRAIN_KERNELS_STREAM_H_
#define HAI_DEVICES_CPU_TRAIN_KERNELS_STREAM_H_

#include "devices/cpu/exec/kernels/vector.h"

/* Precondition of v_stream: p is a multiple of the vector's size. Stores are in order for others after v_stream_end. */
#if defined(HAI_VECTOR_AVX512)
HAI_INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
HAI_INLINE void v_stream(float* p, vec x) { _mm512_stream_ps(p, x); }
HAI_INLINE void v_stream_end(void) { _mm_sfence(); }
/* g where low < v < high, else 0. */
HAI_INLINE vec v_between(vec g, vec v, vec low, vec high) {
  const __mmask16 inside = _mm512_cmp_ps_mask(v, low, _CMP_GT_OQ) & _mm512_cmp_ps_mask(v, high, _CMP_LT_OQ);
  return _mm512_maskz_mov_ps(inside, g);
}
#elif defined(HAI_VECTOR_AVX2)
HAI_INLINE vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
HAI_INLINE void v_stream(float* p, vec x) { _mm256_stream_ps(p, x); }
HAI_INLINE void v_stream_end(void) { _mm_sfence(); }
HAI_INLINE vec v_between(vec g, vec v, vec low, vec high) {
  return _mm256_and_ps(g, _mm256_and_ps(_mm256_cmp_ps(v, low, _CMP_GT_OQ), _mm256_cmp_ps(v, high, _CMP_LT_OQ)));
}
#elif defined(HAI_VECTOR_NEON)
HAI_INLINE vec v_sub(vec a, vec b) { return vsubq_f32(a, b); }
HAI_INLINE void v_stream(float* p, vec x) { v_store(p, x); }
HAI_INLINE void v_stream_end(void) {}
HAI_INLINE vec v_between(vec g, vec v, vec low, vec high) {
  const uint32x4_t inside = vandq_u32(vcgtq_f32(v, low), vcltq_f32(v, high));
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(g), inside));
}
#else
HAI_INLINE vec v_sub(vec a, vec b) { return a - b; }
HAI_INLINE void v_stream(float* p, vec x) { v_store(p, x); }
HAI_INLINE void v_stream_end(void) {}
HAI_INLINE vec v_between(vec g, vec v, vec low, vec high) { return v > low && v < high ? g : 0.0F; }
#endif

#define HAI_STREAM_ALIGNMENT 64

#endif /* HAI_DEVICES_CPU_TRAIN_KERNELS_STREAM_H_ */

/* Unary functions: f32 loops over types/unary_table.h.
 *
 * One loop per function, which compilers vectorise (float_math.h is branch-free). In place is allowed (x == y). */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "devices/cpu/exec/kernels/vector.h"
#include "types/unary_table.h"

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

#if defined(HAI_VECTOR_AVX512)
/* SiLU, the activation that convolutions apply most, by hand: vscalefps gives 2^n with overflow and subnormals right,
 * which saves the loop's selections. The same polynomial as hai_f32_exp. */
static __m512 silu_lanes(__m512 x) {
  const __m512 t = _mm512_max_ps(_mm512_set1_ps(-104.0F),
                                 _mm512_min_ps(_mm512_set1_ps(104.0F), _mm512_xor_ps(x, _mm512_set1_ps(-0.0F))));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(t, _mm512_set1_ps(1.44269502F)), 0);
  __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0.693359375F), t);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194442e-4F), r);
  __m512 q = _mm512_fmadd_ps(_mm512_set1_ps(1.395043008e-3F), r, _mm512_set1_ps(8.368886927e-3F));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(4.166620666e-2F));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(1.666651885e-1F));
  q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(5.000000095e-1F));
  const __m512 one = _mm512_set1_ps(1.0F);
  const __m512 p = _mm512_add_ps(one, _mm512_fmadd_ps(_mm512_mul_ps(q, r), r, r));
  const __m512 y = _mm512_div_ps(x, _mm512_add_ps(one, _mm512_scalef_ps(p, n)));
  const __mmask16 vanished = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-104.0F), _CMP_LT_OQ);
  return _mm512_mask_mov_ps(y, vanished, _mm512_set1_ps(-0.0F));
}

static void silu_vectors(const float* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) v_store(y + i, silu_lanes(v_load(x + i)));
  const int left = (int)(count - i);
  if (left > 0) v_store_n(y + i, silu_lanes(v_load_n(x + i, left)), left);
}
#endif

void HAI_KERNEL(hai_unary_f32)(int32_t function, const float* x, float* y, int64_t count, float a, float b);
void HAI_KERNEL(hai_unary_f32)(int32_t function, const float* x, float* y, int64_t count, float a, float b) {
#if defined(HAI_VECTOR_AVX512)
  if (function == HAI_UNARY_silu) {
    silu_vectors(x, y, count);
    return;
  }
#endif
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

/* dot_f32, add_multiple_f32, adaround_step_f32: the inner loops of the quantizer's weight rounding (rounding.h).
 *
 * dot sums in a fixed set of lanes, so that a result depends on the instruction set but not on threads. The step is
 * branch-free: rectified sigmoid (Louizos et al. 2018: zeta = 1.1, gamma = -0.1), its regulariser, Adam (Kingma and Ba,
 * 2015) with beta1 = 0.9 and beta2 = 0.999. Not for use at inference.
 */
#include "devices/cpu/exec/kernels/rounding.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "devices/cpu/exec/kernels/vector.h"

#define CHAINS 4

float HAI_KERNEL(dot_f32)(const float* a, const float* b, int64_t count);
float HAI_KERNEL(dot_f32)(const float* a, const float* b, int64_t count) {
  vec sum[CHAINS];
  HAI_UNROLL
  for (int c = 0; c < CHAINS; ++c) sum[c] = v_zero();
  int64_t i = 0;
  for (; i + CHAINS * HAI_LANES <= count; i += CHAINS * HAI_LANES) {
    HAI_UNROLL
    for (int c = 0; c < CHAINS; ++c) {
      sum[c] = v_fma(v_load(a + i + c * HAI_LANES), v_load(b + i + c * HAI_LANES), sum[c]);
    }
  }
  for (; i + HAI_LANES <= count; i += HAI_LANES) sum[0] = v_fma(v_load(a + i), v_load(b + i), sum[0]);
  float lanes[HAI_LANES];
  v_store(lanes, v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
  float total = 0.0F;
  for (int l = 0; l < HAI_LANES; ++l) total += lanes[l];
  for (; i < count; ++i) total += a[i] * b[i];
  return total;
}

/* y += factor * x */
void HAI_KERNEL(add_multiple_f32)(float* y, const float* x, float factor, int64_t count);
void HAI_KERNEL(add_multiple_f32)(float* y, const float* x, float factor, int64_t count) {
  const vec f = v_set(factor);
  int64_t i = 0;
  for (; i + HAI_LANES <= count; i += HAI_LANES) v_store(y + i, v_fma(f, v_load(x + i), v_load(y + i)));
  for (; i < count; ++i) y[i] += factor * x[i];
}

void HAI_KERNEL(adaround_step_f32)(const hai_adaround_step* step);
void HAI_KERNEL(adaround_step_f32)(const hai_adaround_step* step) {
  const hai_adaround_step s = *step;
  HAI_INDEPENDENT
  for (int64_t i = 0; i < s.count; ++i) {
    const float sigmoid = hai_f32_sigmoid(s.variable[i]);
    const float stretched = 1.2F * sigmoid - 0.1F;
    const float h = hai_f32_clamp_unit(stretched);
    const float slope = stretched > 0.0F && stretched < 1.0F ? 1.2F * sigmoid * (1.0F - sigmoid) : 0.0F;
    const float from_middle = 2.0F * h - 1.0F;
    const float size = hai_f32_abs(from_middle);
    const float bounded = size < 1e-6F ? 1e-6F : size;
    const float steepness = 2.0F * s.power * hai_f32_exp((s.power - 1.0F) * hai_f32_log(bounded));
    const float pull = s.regularization * hai_f32_with_sign(steepness, from_middle);
    const float g = (s.gradient[i] * s.gradient_scale - pull) * slope;
    const float moment = 0.9F * s.moment[i] + 0.1F * g;
    const float square = 0.999F * s.square[i] + 0.001F * g * g;
    const float variable = s.variable[i] - s.rate * moment / (hai_f32_sqrt(square) + s.epsilon);
    s.moment[i] = moment;
    s.square[i] = square;
    s.variable[i] = variable;
    s.weight[i] = (s.base[i] + hai_f32_clamp_unit(1.2F * hai_f32_sigmoid(variable) - 0.1F)) * s.scale;
  }
}

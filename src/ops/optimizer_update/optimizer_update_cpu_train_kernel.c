/* hai_sgd_update_f32, hai_adam_update_f32: the formulas of types/optimizer_step.h in f32, a sweep over chunks.
 *
 * Scalars come computed in f64 and rounded once. In place is allowed: element i depends on element i alone. No fused
 * multiply-adds, so all instruction sets give the same bits. */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "devices/cpu/train/optimizer_scalars.h"

void HAI_KERNEL(hai_sgd_update_f32)(const hai_sgd_scalars* s, const float* w, const float* g, const float* m,
                                    float* new_w, float* new_m, int64_t count);
void HAI_KERNEL(hai_sgd_update_f32)(const hai_sgd_scalars* s, const float* w, const float* g, const float* m,
                                    float* new_w, float* new_m, int64_t count) {
  const float rate = s->learning_rate;
  const float scale = s->scale;
  const float decay = s->weight_decay;
  const float momentum = s->momentum;
  if (m == 0) {
    HAI_INDEPENDENT
    for (int64_t i = 0; i < count; ++i) new_w[i] = w[i] - rate * (scale * g[i] + decay * w[i]);
    return;
  }
  /* d = a g + b m': Nesterov's (1, momentum), else (0, 1). */
  const float a = s->nesterov ? 1.0F : 0.0F;
  const float b = s->nesterov ? momentum : 1.0F;
  HAI_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float gradient = scale * g[i] + decay * w[i];
    const float moment = momentum * m[i] + gradient;
    new_w[i] = w[i] - rate * (a * gradient + b * moment);
    new_m[i] = moment;
  }
}

void HAI_KERNEL(hai_adam_update_f32)(const hai_adam_scalars* s, const float* w, const float* g, const float* m,
                                     const float* v, float* new_w, float* new_m, float* new_v, int64_t count);
void HAI_KERNEL(hai_adam_update_f32)(const hai_adam_scalars* s, const float* w, const float* g, const float* m,
                                     const float* v, float* new_w, float* new_m, float* new_v, int64_t count) {
  const float scale = s->scale;
  const float coupled = s->coupled_decay;
  const float keep = s->kept_weight;
  const float beta1 = s->beta1;
  const float rest1 = s->rest1;
  const float beta2 = s->beta2;
  const float rest2 = s->rest2;
  const float rate = s->corrected_rate;
  const float root = s->inverse_root_correction2;
  const float epsilon = s->epsilon;
  HAI_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) {
    const float gradient = scale * g[i] + coupled * w[i];
    const float mean = beta1 * m[i] + rest1 * gradient;
    const float square = beta2 * v[i] + rest2 * gradient * gradient;
    new_w[i] = keep * w[i] - rate * (mean / (__builtin_sqrtf(square) * root + epsilon));
    new_m[i] = mean;
    new_v[i] = square;
  }
}

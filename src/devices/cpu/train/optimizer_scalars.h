/* What the kernels of an optimizer's step take beside tensors: computed once a step in f64, rounded to f32. */
#pragma once

typedef struct {
  float learning_rate;
  float scale; /* of the gradient */
  float weight_decay;
  float momentum;
  int nesterov;
} hai_sgd_scalars;

typedef struct {
  float scale;
  float coupled_decay; /* Adam's; 0 for AdamW */
  float kept_weight;   /* AdamW's 1 - learning rate * decay; 1 for Adam */
  float beta1;
  float rest1; /* 1 - beta1 */
  float beta2;
  float rest2;
  float corrected_rate;           /* learning rate / (1 - beta1^step) */
  float inverse_root_correction2; /* 1 / sqrt(1 - beta2^step) */
  float epsilon;
} hai_adam_scalars;

/* One element of an optimizer's step, in f64: what the references compute and the kernels compute in f32. The formulas
 * of torch.optim.SGD, Adam and AdamW. Plain C, no calls but a square root. */
#pragma once

#include <stdint.h>

#include "types/exact_math.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  double learning_rate;
  double scale; /* of the gradient: clipping */
  double weight_decay;
  double momentum;
  int nesterov;
} hai_sgd_step;

typedef struct {
  double learning_rate;
  double scale;
  double weight_decay;
  double beta1;
  double beta2;
  double epsilon;
  double correction1; /* 1 - beta1^step */
  double correction2;
  int decoupled; /* AdamW */
} hai_adam_step;

/* A norm of gradients (or a loss) that a step may be made with: a number, and so small that squares of gradients are
 * f32, since Adam keeps them. */
static inline int hai_step_is_sound(double guard) { return guard >= -0x1p63 && guard <= 0x1p63; }

/* What gradients are multiplied by so that their norm is at most clip_norm; 0 sets no limit. */
static inline double hai_clip_scale(double norm, double clip_norm) {
  const double scale = clip_norm / (norm + 1e-6);
  return clip_norm > 0 && scale < 1 ? scale : 1.0;
}

enum { HAI_MOST_ACCUMULATED = 1 << 20 };

/* Gradients of `every` steps are added up before one update: where a step lies in its group. */
typedef struct {
  double keep;    /* of the old sum: 0 in the first step of a group, else 1 */
  double gate;    /* added to the guard of the update: 0 in the last step, else a number that no guard lets through */
  int64_t update; /* number of the update that the step is for, from 1 */
} hai_accumulation;

static inline hai_accumulation hai_accumulation_at(int64_t step, int64_t every) {
  const int64_t before = step < 1 ? 0 : step - 1;
  hai_accumulation at;
  at.keep = before % every == 0 ? 0.0 : 1.0;
  at.gate = before % every == every - 1 ? 0.0 : 0x1p100;
  at.update = before / every + 1;
  return at;
}

/* The new parameter; *moment becomes the new momentum. Without momentum it ends as the gradient, which nobody keeps. */
static inline double hai_sgd_element(const hai_sgd_step* step, double w, double gradient, double* moment) {
  const double g = step->scale * gradient + step->weight_decay * w;
  *moment = step->momentum * *moment + g;
  const double direction = step->nesterov ? g + step->momentum * *moment : *moment;
  return w - step->learning_rate * direction;
}

static inline double hai_adam_element(const hai_adam_step* step, double w, double gradient, double* m, double* v) {
  double g = step->scale * gradient;
  if (step->decoupled) {
    w -= step->learning_rate * step->weight_decay * w;
  } else {
    g += step->weight_decay * w;
  }
  *m = step->beta1 * *m + (1 - step->beta1) * g;
  *v = step->beta2 * *v + (1 - step->beta2) * g * g;
  const double denominator = hai_sqrt(*v) / hai_sqrt(step->correction2) + step->epsilon;
  return w - step->learning_rate / step->correction1 * (*m / denominator);
}

#ifdef __cplusplus
}
#endif

/* Vector loops of the quantizer's weight rounding: sums of products, added multiples, one step of AdaRound's optimiser.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_ROUNDING_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_ROUNDING_H_

#include <stdint.h>

/* One step over `count` rounding variables of one output channel (Nagel et al., "Up or Down?", ICML 2020). */
typedef struct {
  int64_t count;
  const float* gradient; /* of the reconstruction error, by soft weight */
  const float* base;     /* the lower of the two integers that a weight chooses from */
  float* variable;       /* V; h = clamp(1.2 sigmoid(V) - 0.1, 0, 1) */
  float* moment;         /* Adam's first and second moments */
  float* square;
  float* weight;        /* out: (base + h) * scale */
  float scale;          /* of the channel */
  float gradient_scale; /* brings the error to units of one rounding step */
  float regularization; /* lambda; 0 while warming up */
  float power;          /* beta of lambda * (1 - |2 h - 1|^beta) */
  float rate;           /* learning rate, bias corrections of Adam included */
  float epsilon;        /* of Adam, bias correction included */
} hai_adaround_step;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_ROUNDING_H_ */

/* What batch_norm_train and its gradient know of each column of [rows][width] numbers.
 *
 * Both make v = (x - mean) factor + bias of it in the same operations, so that the gradient masks what the activation
 * did; and mean and variance are those of the outputs, rounded to f32, for both. */
#ifndef HAI_DEVICES_CPU_TRAIN_KERNELS_BATCH_NORM_COLUMNS_H_
#define HAI_DEVICES_CPU_TRAIN_KERNELS_BATCH_NORM_COLUMNS_H_

#include <stdint.h>

typedef struct {
  int64_t width;
  const float *mean, *factor, *bias;
  float low, high;            /* of the activation; infinite: none */
  const float *slope, *shift; /* of the gradient: dx = g factor + ((x - mean) slope + shift) */
} hai_batch_norm_columns;

#endif /* HAI_DEVICES_CPU_TRAIN_KERNELS_BATCH_NORM_COLUMNS_H_ */

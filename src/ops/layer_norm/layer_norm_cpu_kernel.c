/* layer_norm of one row. In place is allowed where x and y have one type.
 *
 * f32: mean, then the mean of squared differences, both summed in 16 lanes that are added in a fixed tree, so that the
 * order of additions does not depend on the vector width. Integers follow types/arithmetic.h: exact sums (8 bits in 32:
 * the caller has at most HAI_LAYER_NORM_MAX of them), then f32 operations in a fixed order, none of them fused. Types:
 * 0 i8, 1 u8, 2 i16.
 */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "types/arithmetic.h"

#define LANES 16

static float tree(float* lanes) {
  for (int half = LANES / 2; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  return lanes[0];
}

void HAI_KERNEL(layer_norm_moments_f32)(const float* x, int64_t count, float* mean, float* variance);
void HAI_KERNEL(layer_norm_moments_f32)(const float* x, int64_t count, float* mean, float* variance) {
  float lanes[LANES];
  for (int j = 0; j < LANES; ++j) lanes[j] = 0.0F;
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    for (int j = 0; j < LANES; ++j) lanes[j] += x[i + j];
  }
  for (int j = 0; i + j < count; ++j) lanes[j] += x[i + j];
  const float middle = tree(lanes) / (float)count;
  for (int j = 0; j < LANES; ++j) lanes[j] = 0.0F;
  for (i = 0; i + LANES <= count; i += LANES) {
    for (int j = 0; j < LANES; ++j) lanes[j] += (x[i + j] - middle) * (x[i + j] - middle);
  }
  for (int j = 0; i + j < count; ++j) lanes[j] += (x[i + j] - middle) * (x[i + j] - middle);
  *mean = middle;
  *variance = tree(lanes) / (float)count;
}

void HAI_KERNEL(layer_norm_store_f32)(const float* x, int64_t count, float mean, float inverse, const float* gain,
                                      const float* offset, float* y);
void HAI_KERNEL(layer_norm_store_f32)(const float* x, int64_t count, float mean, float inverse, const float* gain,
                                      const float* offset, float* y) {
  HAI_INDEPENDENT
  for (int64_t i = 0; i < count; ++i) y[i] = (x[i] - mean) * inverse * gain[i] + offset[i];
}

#define BYTE_SUMS(type)                                           \
  {                                                               \
    const type* q = (const type*)x;                               \
    int32_t total = 0;                                            \
    uint32_t total_squares = 0;                                   \
    for (int64_t i = 0; i < count; ++i) {                         \
      total += q[i];                                              \
      total_squares += (uint32_t)((int32_t)q[i] * (int32_t)q[i]); \
    }                                                             \
    *sum = total;                                                 \
    *squares = (int64_t)total_squares;                            \
  }

void HAI_KERNEL(layer_norm_sums)(const void* x, int32_t x_type, int64_t count, int64_t* sum, int64_t* squares);
void HAI_KERNEL(layer_norm_sums)(const void* x, int32_t x_type, int64_t count, int64_t* sum, int64_t* squares) {
  if (x_type == 0) {
    BYTE_SUMS(int8_t)
  } else if (x_type == 1) {
    BYTE_SUMS(uint8_t)
  } else {
    const int16_t* q = (const int16_t*)x;
    int64_t total = 0;
    int64_t total_squares = 0;
    for (int64_t i = 0; i < count; ++i) {
      total += q[i];
      total_squares += (int32_t)q[i] * (int32_t)q[i];
    }
    *sum = total;
    *squares = total_squares;
  }
}

/* count * q - sum: 32 bits hold it for bytes; for i16 an f64 does, which vectors convert to f32 and 64-bit integers
 * they do not. */
#define BYTE_DISTANCE(q) (float)((int32_t)count * (int32_t)(q) - (int32_t)sum)
#define WORD_DISTANCE(q) (float)((double)count * (double)(q) - (double)sum)
#define STORE(from_type, to_type, DISTANCE)                                                        \
  {                                                                                                \
    const from_type* from = (const from_type*)x;                                                   \
    to_type* to = (to_type*)y;                                                                     \
    HAI_INDEPENDENT                                                                                \
    for (int64_t i = 0; i < count; ++i) {                                                          \
      to[i] = (to_type)hai_layer_norm_output(DISTANCE(from[i]), inverse, gain[i], offset[i], out); \
    }                                                                                              \
  }

void HAI_KERNEL(layer_norm_store)(const void* x, int32_t x_type, int64_t count, int64_t sum, float inverse,
                                  const float* gain, const float* offset, int32_t zero_point, int32_t lo, int32_t hi,
                                  void* y, int32_t y_type);
void HAI_KERNEL(layer_norm_store)(const void* x, int32_t x_type, int64_t count, int64_t sum, float inverse,
                                  const float* gain, const float* offset, int32_t zero_point, int32_t lo, int32_t hi,
                                  void* y, int32_t y_type) {
  const hai_output_range out = {zero_point, lo, hi};
  switch (x_type * 2 + (y_type == 2 ? 1 : 0)) { /* both kinds of bytes hold the low bits */
    case 0:
      STORE(int8_t, uint8_t, BYTE_DISTANCE)
      break;
    case 1:
      STORE(int8_t, int16_t, BYTE_DISTANCE)
      break;
    case 2:
      STORE(uint8_t, uint8_t, BYTE_DISTANCE)
      break;
    case 3:
      STORE(uint8_t, int16_t, BYTE_DISTANCE)
      break;
    case 4:
      STORE(int16_t, uint8_t, WORD_DISTANCE)
      break;
    default:
      STORE(int16_t, int16_t, WORD_DISTANCE)
      break;
  }
}

/* softmax of one slice: contiguous in f32, any step otherwise.
 *
 * f32 sums run in 16 lanes, added in a fixed tree, so that the order of additions does not depend on the vector width.
 * Integers follow types/arithmetic.h; `table` holds exp of (max - q) steps as integers of 23 bits. In place is allowed.
 */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "types/arithmetic.h"

void HAI_KERNEL(hai_softmax_f32)(const float* x, float* y, int64_t count);
void HAI_KERNEL(hai_softmax_f32)(const float* x, float* y, int64_t count) {
  float lanes[16];
  int64_t i = 0;
  for (int j = 0; j < 16; ++j) lanes[j] = x[0];
  for (; i + 16 <= count; i += 16) {
    for (int j = 0; j < 16; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  float largest = lanes[0];
  for (int j = 1; j < 16; ++j) largest = lanes[j] > largest ? lanes[j] : largest;
  for (; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  HAI_INDEPENDENT
  for (int64_t k = 0; k < count; ++k) y[k] = hai_f32_exp(x[k] - largest);
  for (int j = 0; j < 16; ++j) lanes[j] = 0.0F;
  for (i = 0; i + 16 <= count; i += 16) {
    for (int j = 0; j < 16; ++j) lanes[j] += y[i + j];
  }
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  float sum = lanes[0];
  for (; i < count; ++i) sum += y[i];
  const float inverse = 1.0F / sum;
  for (int64_t k = 0; k < count; ++k) y[k] *= inverse;
}

/* `columns` <= 64 neighbouring slices at once, elements of a slice `step` apart. */
void HAI_KERNEL(hai_softmax_columns_f32)(const float* x, float* y, int64_t count, int64_t step, int64_t columns);
void HAI_KERNEL(hai_softmax_columns_f32)(const float* x, float* y, int64_t count, int64_t step, int64_t columns) {
  float largest[64];
  float sum[64];
  for (int64_t c = 0; c < columns; ++c) {
    largest[c] = x[c];
    sum[c] = 0.0F;
  }
  for (int64_t i = 1; i < count; ++i) {
    for (int64_t c = 0; c < columns; ++c) largest[c] = x[i * step + c] > largest[c] ? x[i * step + c] : largest[c];
  }
  for (int64_t i = 0; i < count; ++i) {
    HAI_INDEPENDENT
    for (int64_t c = 0; c < columns; ++c) {
      const float e = hai_f32_exp(x[i * step + c] - largest[c]);
      y[i * step + c] = e;
      sum[c] += e;
    }
  }
  for (int64_t c = 0; c < columns; ++c) sum[c] = 1.0F / sum[c];
  for (int64_t i = 0; i < count; ++i) {
    HAI_INDEPENDENT
    for (int64_t c = 0; c < columns; ++c) y[i * step + c] *= sum[c];
  }
}

/* `flip` is 128 for i8 operands (moves them to 0..255 in order), 0 for u8; bytes of y hold the low bits. */
void HAI_KERNEL(hai_softmax_q8)(const int32_t* table, const uint8_t* x, uint8_t* y, int64_t count, int64_t step,
                                int32_t flip, float s_y, int32_t zero_point, int32_t lo, int32_t hi);
void HAI_KERNEL(hai_softmax_q8)(const int32_t* table, const uint8_t* x, uint8_t* y, int64_t count, int64_t step,
                                int32_t flip, float s_y, int32_t zero_point, int32_t lo, int32_t hi) {
  const hai_output_range out = {zero_point, lo, hi};
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t q = x[i * step] ^ flip;
    largest = q > largest ? q : largest;
  }
  int64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += table[largest - (x[i * step] ^ flip)];
  const float inverse = hai_softmax_inverse(sum, s_y);
  for (int64_t i = 0; i < count; ++i) {
    y[i * step] = (uint8_t)hai_softmax_output(table[largest - (x[i * step] ^ flip)], inverse, out);
  }
}

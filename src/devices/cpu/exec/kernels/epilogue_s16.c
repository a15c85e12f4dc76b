/* requantize_s16, finish_s16: see epilogue_s16.h. Multiplications and additions are separate, each rounded: no fused
 * multiply-add may appear here. The chain behind the first rounding is plain C, which compilers vectorise. */
#include "devices/cpu/exec/kernels/epilogue_s16.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector64.h"
#include "types/arithmetic.h"

HAI_INLINE void requantize_lanes(const hai_requantize_s16* e, int32_t m, int32_t c, int n, const int to_float) {
  const dvec sum = d_from_sum(e->sums + m * e->sums_stride + c, e->bias + c);
  const dvec real = d_mul(sum, d_from_f32(e->multiplier + c));
  if (to_float) {
    float* out = e->out_f32 + m * e->out_stride + c;
    if (n == HAI_LANES64) {
      d_store_f32(out, real);
    } else {
      d_store_f32_n(out, real, n);
    }
    return;
  }
  const dvec clamped = d_min(d_set(e->hi), d_max(d_set(e->lo), real));
  int16_t* out = e->out + m * e->out_stride + c;
  if (n == HAI_LANES64) {
    d_store_s16(out, clamped, e->zero_point);
  } else {
    d_store_s16_n(out, clamped, e->zero_point, n);
  }
}

HAI_INLINE void requantize_tile(const hai_requantize_s16* given, const int to_float) {
  const hai_requantize_s16 copy = *given; /* stores cannot change it */
  const hai_requantize_s16* e = &copy;
  for (int32_t m = 0; m < e->rows; ++m) {
    int32_t c = 0;
    for (; c + HAI_LANES64 <= e->cols; c += HAI_LANES64) requantize_lanes(e, m, c, HAI_LANES64, to_float);
    if (c < e->cols) requantize_lanes(e, m, c, e->cols - c, to_float);
  }
}

void HAI_KERNEL(requantize_s16)(const hai_requantize_s16* e);
void HAI_KERNEL(requantize_s16)(const hai_requantize_s16* e) {
  if (e->out_f32 != 0) {
    requantize_tile(e, 1);
  } else {
    requantize_tile(e, 0);
  }
}

#define HAI_ADD_ROW(name, type)                                                                            \
  static void name(const hai_finish_s16* e, int16_t* y, const type* r) {                                   \
    const hai_output_range out = {e->out_zero_point, e->lo, e->hi};                                        \
    const int32_t zero_y = e->zero_point;                                                                  \
    const int32_t zero_r = e->residual_zero_point;                                                         \
    const float m_y = e->multiplier;                                                                       \
    const float m_r = e->residual_multiplier;                                                              \
    const int32_t cols = e->cols;                                                                          \
    for (int32_t c = 0; c < cols; ++c) y[c] = (int16_t)hai_add(y[c], r[c], zero_y, zero_r, m_y, m_r, out); \
  }
HAI_ADD_ROW(add_row_s16, int16_t)
HAI_ADD_ROW(add_row_s8, int8_t)
HAI_ADD_ROW(add_row_u8, uint8_t)

void HAI_KERNEL(finish_s16)(const hai_finish_s16* e);
void HAI_KERNEL(finish_s16)(const hai_finish_s16* given) {
  const hai_finish_s16 copy = *given;
  const hai_finish_s16* e = &copy;
  for (int32_t m = 0; m < e->rows; ++m) {
    int16_t* y = e->y + m * e->y_stride;
    if (e->table != 0) {
      for (int32_t c = 0; c < e->cols; ++c) y[c] = e->table[y[c] - e->table_first];
    }
    if (e->residual == 0) continue;
    const int64_t first = m * e->residual_stride;
    if (e->residual_bits == 16) {
      add_row_s16(e, y, (const int16_t*)e->residual + first);
    } else if (e->residual_signed) {
      add_row_s8(e, y, (const int8_t*)e->residual + first);
    } else {
      add_row_u8(e, y, (const uint8_t*)e->residual + first);
    }
  }
}

/* epilogue_f32, epilogue_i8: see epilogue.h. Multiplications and additions are separate, each rounded to f32: no fused
 * multiply-add may appear here. */
#include "devices/cpu/exec/kernels/epilogue.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

HAI_INLINE void f32_lanes(const hai_epilogue_f32* e, const float* tile, const float* residual, float* out, int n) {
  vec x = n == HAI_LANES ? v_load(tile) : v_load_n(tile, n);
  if (residual != 0) x = v_add(x, n == HAI_LANES ? v_load(residual) : v_load_n(residual, n));
  x = v_min(v_set(e->hi), v_max(v_set(e->lo), x));
  if (n == HAI_LANES) {
    v_store(out, x);
  } else {
    v_store_n(out, x, n);
  }
}

void HAI_KERNEL(epilogue_f32)(const hai_epilogue_f32* e);
void HAI_KERNEL(epilogue_f32)(const hai_epilogue_f32* given) {
  const hai_epilogue_f32 copy = *given; /* stores cannot change it */
  const hai_epilogue_f32* e = &copy;
  for (int32_t m = 0; m < e->rows; ++m) {
    const float* tile = e->tile + m * e->tile_stride;
    const float* residual = e->residual == 0 ? 0 : e->residual + m * e->residual_stride;
    float* out = e->out + m * e->out_stride;
    int32_t c = 0;
    for (; c + HAI_LANES <= e->cols; c += HAI_LANES) {
      f32_lanes(e, tile + c, residual == 0 ? 0 : residual + c, out + c, HAI_LANES);
    }
    if (c < e->cols) f32_lanes(e, tile + c, residual == 0 ? 0 : residual + c, out + c, e->cols - c);
  }
}

/* What an integer epilogue does; constants, so that each combination has a loop of its own. */
enum { kToFloat = 1, kTable = 2, kResidual = 4, kResidualSigned = 8, kRounded = 16, kToWords = 32 };
enum { kChunk = 64 }; /* columns between one step of an epilogue with a table and the next */

HAI_INLINE ivec load_residual(const uint8_t* p, const int what, int n) {
  if (what & kResidualSigned) {
    return n == HAI_LANES ? i_load_s8((const int8_t*)p) : i_load_s8_n((const int8_t*)p, n);
  }
  return n == HAI_LANES ? i_load_u8(p) : i_load_u8_n(p, n);
}

/* The sums as real numbers of steps. Columns past `cols` hold zeros in sums, bias and multiplier, so full loads of
 * those are in bounds. */
HAI_INLINE vec real_steps(const hai_epilogue_i8* e, int32_t m, int32_t c, const int what) {
  const ivec sum = i_load(e->sums + m * e->sums_stride + c);
  if (what & kRounded) return v_from_i(sum);
  return v_mul(v_from_i(i_add(sum, i_load(e->bias + c))), v_load(e->multiplier + c));
}

HAI_INLINE ivec first_rounding(const hai_epilogue_i8* e, int32_t m, int32_t c, const int what) {
  return i_round(v_min(v_set(e->hi), v_max(v_set(e->lo), real_steps(e, m, c, what))));
}

/* The first `n` of the lanes at column c. `steps` lacks the zero point of the value before the addition. */
HAI_INLINE void finish_lanes(const hai_epilogue_i8* e, int32_t m, int32_t c, int n, ivec steps, const int what) {
  ivec q = i_add(steps, i_set(e->sum_zero_point));
  if (what & kResidual) {
    const ivec r = load_residual(e->residual + m * e->residual_stride + c, what, n);
    const vec left = v_mul(v_from_i(steps), v_set(e->sum_multiplier));
    const vec right = v_mul(v_from_i(i_add(r, i_set(-e->residual_zero_point))), v_set(e->residual_multiplier));
    const vec total = v_min(v_set(e->out_hi), v_max(v_set(e->out_lo), v_add(left, right)));
    q = i_add(i_round(total), i_set(e->out_zero_point));
  }
  if (what & kToWords) {
    int16_t* out = e->out_s16 + m * e->out_stride + c;
    if (n == HAI_LANES) {
      i_store_words(out, q);
    } else {
      i_store_words_n(out, q, n);
    }
    return;
  }
  uint8_t* out = e->out + m * e->out_stride + c;
  if (n == HAI_LANES) {
    i_store_bytes(out, q);
  } else {
    i_store_bytes_n(out, q, n);
  }
}

/* A chunk of at most kChunk columns. The rounding, the look-up and the addition are loops of their own: look-ups are
 * scalar (gathers are slower on many processors), and vectors are read long after the scalars that they consist of. */
HAI_INLINE void table_chunk(const hai_epilogue_i8* e, int32_t m, int32_t first, int n, const int what) {
  int16_t q[kChunk];
  const int16_t* table = e->table;
  for (int c = 0; c < n; c += HAI_LANES) {
    const ivec index = i_add(first_rounding(e, m, first + c, what), i_set(e->zero_point - e->table_first));
    i_store_words(q + c, index);
  }
  if (!(what & kResidual)) {
    const int64_t at = m * e->out_stride + first;
    if (what & kToWords) {
      for (int c = 0; c < n; ++c) e->out_s16[at + c] = table[(uint16_t)q[c]];
    } else {
      for (int c = 0; c < n; ++c) e->out[at + c] = (uint8_t)table[(uint16_t)q[c]];
    }
    return;
  }
  for (int c = 0; c < n; ++c) q[c] = table[(uint16_t)q[c]];
  for (int c = 0; c < n; c += HAI_LANES) {
    const ivec steps = i_add(i_load_s16(q + c), i_set(-e->sum_zero_point));
    finish_lanes(e, m, first + c, n - c < HAI_LANES ? n - c : HAI_LANES, steps, what);
  }
}

HAI_INLINE void plain_lanes(const hai_epilogue_i8* e, int32_t m, int32_t c, int n, const int what) {
  if (!(what & kToFloat)) return finish_lanes(e, m, c, n, first_rounding(e, m, c, what), what);
  float* out = e->out_f32 + m * e->out_stride + c;
  if (n == HAI_LANES) {
    v_store(out, real_steps(e, m, c, what));
  } else {
    v_store_n(out, real_steps(e, m, c, what), n);
  }
}

HAI_INLINE void i8_tile(const hai_epilogue_i8* given, const int what) {
  const hai_epilogue_i8 copy = *given; /* stores cannot change it */
  const hai_epilogue_i8* e = &copy;
  for (int32_t m = 0; m < e->rows; ++m) {
    int32_t c = 0;
    if (what & kTable) {
      for (; c < e->cols; c += kChunk) table_chunk(e, m, c, e->cols - c < kChunk ? e->cols - c : kChunk, what);
      continue;
    }
    for (; c + HAI_LANES <= e->cols; c += HAI_LANES) plain_lanes(e, m, c, HAI_LANES, what);
    if (c < e->cols) plain_lanes(e, m, c, e->cols - c, what);
  }
}

void HAI_KERNEL(epilogue_i8)(const hai_epilogue_i8* e);
void HAI_KERNEL(epilogue_i8)(const hai_epilogue_i8* e) {
  if (e->out_f32 != 0) {
    i8_tile(e, kToFloat);
  } else if (e->out_s16 != 0) {
    if (e->rounded) {
      i8_tile(e, e->table != 0 ? kRounded | kTable | kToWords : kRounded | kToWords);
    } else if (e->table != 0) {
      i8_tile(e, kTable | kToWords);
    } else {
      i8_tile(e, kToWords);
    }
  } else if (e->rounded) {
    if (e->residual == 0) {
      if (e->table != 0) {
        i8_tile(e, kRounded | kTable);
      } else {
        i8_tile(e, kRounded);
      }
    } else if (e->residual_signed) {
      i8_tile(e,
              e->table != 0 ? kRounded | kResidual | kResidualSigned | kTable : kRounded | kResidual | kResidualSigned);
    } else {
      i8_tile(e, e->table != 0 ? kRounded | kResidual | kTable : kRounded | kResidual);
    }
  } else if (e->residual == 0) {
    if (e->table != 0) {
      i8_tile(e, kTable);
    } else {
      i8_tile(e, 0);
    }
  } else if (e->residual_signed) {
    if (e->table != 0) {
      i8_tile(e, kResidual | kResidualSigned | kTable);
    } else {
      i8_tile(e, kResidual | kResidualSigned);
    }
  } else if (e->table != 0) {
    i8_tile(e, kResidual | kTable);
  } else {
    i8_tile(e, kResidual);
  }
}

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

/* table[low byte] of each element; entries are sign- or zero-extended bytes. */
HAI_INLINE ivec look_up(const int32_t* table, ivec q) {
#if defined(HAI_VECTOR_AVX512)
  return _mm512_i32gather_epi32(_mm512_and_si512(q, _mm512_set1_epi32(0xff)), table, 4);
#elif defined(HAI_VECTOR_AVX2)
  return _mm256_i32gather_epi32(table, _mm256_and_si256(q, _mm256_set1_epi32(0xff)), 4);
#else
  int32_t lanes[HAI_LANES];
  i_store(lanes, q);
  for (int i = 0; i < HAI_LANES; ++i) lanes[i] = table[(uint8_t)lanes[i]];
  return i_load(lanes);
#endif
}

/* What an integer epilogue does; constants, so that each combination has a loop of its own. */
enum { kToFloat = 1, kTable = 2, kResidual = 4, kResidualSigned = 8, kRounded = 16 };

HAI_INLINE ivec load_residual(const uint8_t* p, const int what, int n) {
  if (what & kResidualSigned) {
    return n == HAI_LANES ? i_load_s8((const int8_t*)p) : i_load_s8_n((const int8_t*)p, n);
  }
  return n == HAI_LANES ? i_load_u8(p) : i_load_u8_n(p, n);
}

/* Columns past `n` hold zeros in sums, bias and multiplier, so full loads of those are in bounds. */
HAI_INLINE void i8_lanes(const hai_epilogue_i8* e, int32_t m, int32_t c, int n, const int what) {
  const ivec given = i_load(e->sums + m * e->sums_stride + c);
  const ivec sum = what & kRounded ? given : i_add(given, i_load(e->bias + c));
  const vec real = what & kRounded ? v_from_i(sum) : v_mul(v_from_i(sum), v_load(e->multiplier + c));
  if (what & kToFloat) {
    float* out = e->out_f32 + m * e->out_stride + c;
    if (n == HAI_LANES) {
      v_store(out, real);
    } else {
      v_store_n(out, real, n);
    }
    return;
  }
  const ivec steps = i_round(v_min(v_set(e->hi), v_max(v_set(e->lo), real)));
  ivec q = steps;
  if (what & kTable) q = look_up(e->table, i_add(steps, i_set(e->zero_point)));
  if (what & kResidual) {
    /* Without a table q lacks the zero point, which is the one that would be taken off here. */
    if (what & kTable) q = i_add(q, i_set(-e->sum_zero_point));
    const ivec r = load_residual(e->residual + m * e->residual_stride + c, what, n);
    const vec left = v_mul(v_from_i(q), v_set(e->sum_multiplier));
    const vec right = v_mul(v_from_i(i_add(r, i_set(-e->residual_zero_point))), v_set(e->residual_multiplier));
    const vec total = v_min(v_set(e->out_hi), v_max(v_set(e->out_lo), v_add(left, right)));
    q = i_add(i_round(total), i_set(e->out_zero_point));
  } else if (!(what & kTable)) {
    q = i_add(q, i_set(e->zero_point));
  }
  uint8_t* out = e->out + m * e->out_stride + c;
  if (n == HAI_LANES) {
    i_store_bytes(out, q);
  } else {
    i_store_bytes_n(out, q, n);
  }
}

HAI_INLINE void i8_tile(const hai_epilogue_i8* given, const int what) {
  const hai_epilogue_i8 copy = *given; /* stores cannot change it */
  const hai_epilogue_i8* e = &copy;
  for (int32_t m = 0; m < e->rows; ++m) {
    int32_t c = 0;
    for (; c + HAI_LANES <= e->cols; c += HAI_LANES) i8_lanes(e, m, c, HAI_LANES, what);
    if (c < e->cols) i8_lanes(e, m, c, e->cols - c, what);
  }
}

void HAI_KERNEL(epilogue_i8)(const hai_epilogue_i8* e);
void HAI_KERNEL(epilogue_i8)(const hai_epilogue_i8* e) {
  if (e->out_f32 != 0) {
    i8_tile(e, kToFloat);
  } else if (e->rounded) {
    if (e->residual == 0) {
      i8_tile(e, kRounded | kTable);
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

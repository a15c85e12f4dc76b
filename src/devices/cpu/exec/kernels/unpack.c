/* unpack_s4, dequantize_panel: see unpack.h. unpack_s4 is plain C, which compilers vectorise. */
#include "devices/cpu/exec/kernels/unpack.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

/* Columns of gemm_f32's panels, in vectors. */
#if defined(HAI_VECTOR_SCALAR)
#define NV 8
#else
#define NV 2
#endif
#define NR (NV * HAI_LANES)

void HAI_KERNEL(unpack_s4)(const uint8_t* packed, int8_t* out, int64_t count);
void HAI_KERNEL(unpack_s4)(const uint8_t* packed, int8_t* out, int64_t count) {
  for (int64_t block = 0; block < count / HAI_NIBBLE_BLOCK; ++block) {
    for (int i = 0; i < HAI_NIBBLE_BLOCK / 2; ++i) {
      out[i] = (int8_t)(((packed[i] & 15) ^ 8) - 8);
      out[HAI_NIBBLE_BLOCK / 2 + i] = (int8_t)(((packed[i] >> 4) ^ 8) - 8);
    }
    packed += HAI_NIBBLE_BLOCK / 2;
    out += HAI_NIBBLE_BLOCK;
  }
}

/* Of sign-extended bytes. */
#if defined(HAI_VECTOR_AVX512)
HAI_INLINE ivec low_nibble(ivec x) { return _mm512_srai_epi32(_mm512_slli_epi32(x, 28), 28); }
HAI_INLINE ivec high_nibble(ivec x) { return _mm512_srai_epi32(x, 4); }
#elif defined(HAI_VECTOR_AVX2)
HAI_INLINE ivec low_nibble(ivec x) { return _mm256_srai_epi32(_mm256_slli_epi32(x, 28), 28); }
HAI_INLINE ivec high_nibble(ivec x) { return _mm256_srai_epi32(x, 4); }
#elif defined(HAI_VECTOR_NEON)
HAI_INLINE ivec low_nibble(ivec x) { return vshrq_n_s32(vshlq_n_s32(x, 28), 28); }
HAI_INLINE ivec high_nibble(ivec x) { return vshrq_n_s32(x, 4); }
#else
HAI_INLINE ivec low_nibble(ivec x) { return (ivec)((uint32_t)x << 28) >> 28; }
HAI_INLINE ivec high_nibble(ivec x) { return x >> 4; }
#endif

HAI_INLINE void rows_of_block(const hai_dequantize_panel* d, int64_t row, int64_t end, const int nibbles,
                              const int zeros) {
  const int64_t block = row / d->block;
  const int64_t row_bytes = nibbles ? NR / 2 : NR;
  vec scale[NV];
  vec minus_zero[NV];
  HAI_UNROLL
  for (int v = 0; v < NV; ++v) {
    scale[v] = v_load(d->scales + block * NR + v * HAI_LANES);
    minus_zero[v] = zeros ? v_load(d->minus_zeros + block * NR + v * HAI_LANES) : v_zero();
  }
  const int8_t* from = d->packed + row * row_bytes;
  float* out = d->out + (row - d->first) * NR;
  for (; row < end; ++row, from += row_bytes, out += NR) {
    HAI_UNROLL
    for (int v = 0; v < NV; ++v) {
      ivec q;
      if (nibbles) {
        const ivec pair = i_load_s8(from + v % (NV / 2) * HAI_LANES);
        q = v < NV / 2 ? low_nibble(pair) : high_nibble(pair);
      } else {
        q = i_load_s8(from + v * HAI_LANES);
      }
      vec w = v_from_i(q);
      if (zeros) w = v_add(w, minus_zero[v]);
      v_store(out + v * HAI_LANES, v_mul(w, scale[v]));
    }
  }
}

HAI_INLINE void all_rows(const hai_dequantize_panel* given, const int nibbles, const int zeros) {
  const hai_dequantize_panel copy = *given; /* stores cannot change it */
  const hai_dequantize_panel* d = &copy;
  const int64_t end = d->first + d->count;
  for (int64_t row = d->first; row < end;) {
    const int64_t block_end = (row / d->block + 1) * d->block;
    const int64_t stop = block_end < end ? block_end : end;
    rows_of_block(d, row, stop, nibbles, zeros);
    row = stop;
  }
}

void HAI_KERNEL(dequantize_panel)(const hai_dequantize_panel* d);
void HAI_KERNEL(dequantize_panel)(const hai_dequantize_panel* d) {
  if (d->nibbles) {
    if (d->minus_zeros != 0) {
      all_rows(d, 1, 1);
    } else {
      all_rows(d, 1, 0);
    }
  } else if (d->minus_zeros != 0) {
    all_rows(d, 0, 1);
  } else {
    all_rows(d, 0, 0);
  }
}

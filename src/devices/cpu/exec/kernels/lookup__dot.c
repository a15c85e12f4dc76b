/* Look-up tables of bytes: hai_lookup_u8 over an array, lookup_rows over a rectangle. AVX-512 VBMI, which the machines
 * with VNNI have, holds the whole table in four registers. */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

/* y[i] = table[x[i]]; in place allowed. */
void HAI_KERNEL(hai_lookup_u8)(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t count);
void HAI_KERNEL(hai_lookup_u8)(const uint8_t* table, const uint8_t* x, uint8_t* y, int64_t count) {
  int64_t i = 0;
#if defined(HAI_ISA_AVX512VNNI)
  const __m512i t0 = _mm512_loadu_si512(table);
  const __m512i t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128);
  const __m512i t3 = _mm512_loadu_si512(table + 192);
  for (; i + 64 <= count; i += 64) {
    const __m512i index = _mm512_loadu_si512(x + i);
    const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
    const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
    _mm512_storeu_si512(y + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
  }
#endif
  for (; i < count; ++i) y[i] = table[x[i]];
}

/* y = table[y] for `cols` bytes of each row. */
void HAI_KERNEL(lookup_rows)(const uint8_t* table, uint8_t* y, int64_t stride, int64_t rows, int64_t cols);
void HAI_KERNEL(lookup_rows)(const uint8_t* table, uint8_t* y, int64_t stride, int64_t rows, int64_t cols) {
#if defined(HAI_ISA_AVX512VNNI)
  const __m512i t0 = _mm512_loadu_si512(table);
  const __m512i t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128);
  const __m512i t3 = _mm512_loadu_si512(table + 192);
  for (int64_t m = 0; m < rows; ++m, y += stride) {
    for (int64_t c = 0; c < cols; c += 64) {
      const int64_t left = cols - c;
      const __mmask64 mask = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
      const __m512i index = _mm512_maskz_loadu_epi8(mask, y + c);
      const __m512i low = _mm512_permutex2var_epi8(t0, index, t1);
      const __m512i high = _mm512_permutex2var_epi8(t2, index, t3);
      _mm512_mask_storeu_epi8(y + c, mask, _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high));
    }
  }
#else
  for (int64_t m = 0; m < rows; ++m, y += stride) {
    for (int64_t c = 0; c < cols; ++c) y[c] = table[y[c]];
  }
#endif
}

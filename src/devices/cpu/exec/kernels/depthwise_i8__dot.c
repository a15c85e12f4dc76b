/* depthwise_i8: integer depthwise convolution by dot products. See depthwise_i8.h.
 *
 * A dot product sums four bytes of one lane. Interleaving four neighbouring pixels gives each lane four columns of one
 * channel; two neighbouring outputs use the same vectors with shifted weights, and two rows of outputs share the rows
 * between them. That is a fifth of the instructions of widening each byte to 32 bits. Packing the sums back to bytes
 * undoes the order of interleaving. Sets without dot products have no such kernel.
 */
#include "devices/cpu/exec/kernels/depthwise_i8.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

const hai_depthwise_i8_kernel* HAI_KERNEL(depthwise_i8)(void);

#if defined(HAI_ISA_AVX512VNNI) || defined(HAI_ISA_AVX2VNNI)
/* 256 bits for both: AVX-512's 32 registers hold the sums of two rows. */
#define BLOCK 32
#define LEFT_SIGNED 0
#if defined(HAI_ISA_AVX512VNNI)
#define ROWS 2
#define DOT _mm256_dpbusd_epi32
#else
#define ROWS 1
#define DOT _mm256_dpbusd_avx_epi32
#endif
typedef __m256i bytes;
typedef __m256i sums;

HAI_INLINE bytes load(const void* p) { return _mm256_loadu_si256((const __m256i*)p); }
HAI_INLINE sums load_sums(const int32_t* p) { return _mm256_loadu_si256((const __m256i*)(const void*)p); }
HAI_INLINE sums dot(sums sum, bytes x, bytes w) { return DOT(sum, x, w); }
HAI_INLINE void interleave(const bytes p[4], bytes out[4]) {
  const bytes a = _mm256_unpacklo_epi8(p[0], p[1]);
  const bytes b = _mm256_unpackhi_epi8(p[0], p[1]);
  const bytes c = _mm256_unpacklo_epi8(p[2], p[3]);
  const bytes d = _mm256_unpackhi_epi8(p[2], p[3]);
  out[0] = _mm256_unpacklo_epi16(a, c);
  out[1] = _mm256_unpackhi_epi16(a, c);
  out[2] = _mm256_unpacklo_epi16(b, d);
  out[3] = _mm256_unpackhi_epi16(b, d);
}
HAI_INLINE sums steps(sums sum, const float* multiplier) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(multiplier)));
}
HAI_INLINE void store(const hai_depthwise_i8* d, uint8_t* out, const sums s[4]) {
  const __m256i zero_point = _mm256_set1_epi16((int16_t)d->zero_point);
  const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(s[0], s[1]), zero_point);
  const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(s[2], s[3]), zero_point);
  const __m256i q = _mm256_max_epi8(_mm256_packs_epi16(low, high), _mm256_set1_epi8(d->lo));
  const __m256i y = _mm256_xor_si256(_mm256_min_epi8(q, _mm256_set1_epi8(d->hi)), _mm256_set1_epi8((char)d->y_flip));
  _mm256_storeu_si256((__m256i*)(void*)out, y);
}
#elif defined(HAI_ISA_NEONDOT) || defined(HAI_ISA_NEONI8MM)
#define BLOCK 16
#define LEFT_SIGNED 1
#define ROWS 2
typedef int8x16_t bytes;
typedef int32x4_t sums;

HAI_INLINE bytes load(const void* p) { return vld1q_s8((const int8_t*)p); }
HAI_INLINE sums load_sums(const int32_t* p) { return vld1q_s32(p); }
HAI_INLINE sums dot(sums sum, bytes x, bytes w) { return vdotq_s32(sum, x, w); }
HAI_INLINE void interleave(const bytes p[4], bytes out[4]) {
  const int16x8_t a = vreinterpretq_s16_s8(vzip1q_s8(p[0], p[1]));
  const int16x8_t b = vreinterpretq_s16_s8(vzip2q_s8(p[0], p[1]));
  const int16x8_t c = vreinterpretq_s16_s8(vzip1q_s8(p[2], p[3]));
  const int16x8_t d = vreinterpretq_s16_s8(vzip2q_s8(p[2], p[3]));
  out[0] = vreinterpretq_s8_s16(vzip1q_s16(a, c));
  out[1] = vreinterpretq_s8_s16(vzip2q_s16(a, c));
  out[2] = vreinterpretq_s8_s16(vzip1q_s16(b, d));
  out[3] = vreinterpretq_s8_s16(vzip2q_s16(b, d));
}
HAI_INLINE sums steps(sums sum, const float* multiplier) {
  return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(multiplier)));
}
HAI_INLINE void store(const hai_depthwise_i8* d, uint8_t* out, const sums s[4]) {
  const int16x8_t zero_point = vdupq_n_s16((int16_t)d->zero_point);
  const int16x8_t low = vqaddq_s16(vcombine_s16(vqmovn_s32(s[0]), vqmovn_s32(s[1])), zero_point);
  const int16x8_t high = vqaddq_s16(vcombine_s16(vqmovn_s32(s[2]), vqmovn_s32(s[3])), zero_point);
  const int8x16_t q = vmaxq_s8(vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)), vdupq_n_s8(d->lo));
  const int8x16_t y = vminq_s8(q, vdupq_n_s8(d->hi));
  vst1q_u8(out, veorq_u8(vreinterpretq_u8_s8(y), vdupq_n_u8(d->y_flip)));
}
#endif

#if defined(BLOCK)
/* PIXELS outputs of ROWS rows, of one block of channels. */
HAI_INLINE void window(const hai_depthwise_i8* d, const uint8_t* x, uint8_t* out, int64_t pixels_left,
                       const int8_t* weights, const int32_t* bias, const float* multiplier, const int pixels,
                       const int quads) {
  const int64_t step = d->channels;
  const int64_t row_weights = pixels * quads * 4 * BLOCK;
  sums sum[ROWS][2][4];
  HAI_UNROLL
  for (int j = 0; j < 4; ++j) {
    const sums start = load_sums(bias + j * (BLOCK / 4));
    HAI_UNROLL
    for (int o = 0; o < ROWS; ++o) {
      HAI_UNROLL
      for (int p = 0; p < pixels; ++p) sum[o][p][j] = start;
    }
  }
  const int64_t input_rows = (ROWS - 1) * d->stride_rows + d->kernel_rows;
  for (int64_t r = 0; r < input_rows; ++r, x += d->row_bytes) {
    HAI_UNROLL
    for (int q = 0; q < quads; ++q) {
      bytes column[4];
      HAI_UNROLL
      for (int i = 0; i < 4; ++i) column[i] = load(x + (4 * q + i) * step);
      bytes lanes[4];
      interleave(column, lanes);
      HAI_UNROLL
      for (int o = 0; o < ROWS; ++o) {
        const int64_t k = r - o * d->stride_rows;
        if (ROWS > 1 && (k < 0 || k >= d->kernel_rows)) continue;
        const int8_t* w = weights + k * row_weights + q * 4 * BLOCK;
        HAI_UNROLL
        for (int p = 0; p < pixels; ++p) {
          HAI_UNROLL
          for (int j = 0; j < 4; ++j) {
            sum[o][p][j] = dot(sum[o][p][j], lanes[j], load(w + p * quads * 4 * BLOCK + j * BLOCK));
          }
        }
      }
    }
  }
  HAI_UNROLL
  for (int o = 0; o < ROWS; ++o) {
    if (o >= d->out_rows) break;
    HAI_UNROLL
    for (int p = 0; p < pixels; ++p) {
      if (p >= pixels_left) break;
      sums s[4];
      HAI_UNROLL
      for (int j = 0; j < 4; ++j) s[j] = steps(sum[o][p][j], multiplier + j * (BLOCK / 4));
      store(d, out + o * d->out_row_bytes + p * step, s);
    }
  }
}

HAI_INLINE void rows(const hai_depthwise_i8* given, const int pixels, const int quads) {
  const hai_depthwise_i8 copy = *given; /* stores of bytes cannot change it */
  const hai_depthwise_i8* d = &copy;
  const int64_t block_weights = d->kernel_rows * pixels * quads * 4 * BLOCK;
  const int64_t move = d->stride_cols * d->channels;
  for (int64_t b = 0; b * BLOCK < d->channels; ++b) {
    const int64_t channel = (b + 1) * BLOCK <= d->channels ? b * BLOCK : d->channels - BLOCK;
    const uint8_t* x = d->stripe + channel;
    uint8_t* out = d->out + channel;
    for (int64_t col = 0; col < d->out_cols; col += pixels) {
      window(d, x, out, d->out_cols - col, d->weights + b * block_weights, d->bias + b * BLOCK,
             d->multiplier + b * BLOCK, pixels, quads);
      x += pixels * move;
      out += pixels * d->channels;
    }
  }
}

static void HAI_KERNEL(depthwise_i8_rows)(const hai_depthwise_i8* d) {
  if (d->pixels == 2) {
    if (d->quads == 1) {
      rows(d, 2, 1);
    } else {
      rows(d, 2, 2);
    }
  } else if (d->quads == 1) {
    rows(d, 1, 1);
  } else {
    rows(d, 1, 2);
  }
}

const hai_depthwise_i8_kernel* HAI_KERNEL(depthwise_i8)(void) {
  static const hai_depthwise_i8_kernel kernel = {BLOCK, ROWS, LEFT_SIGNED, HAI_KERNEL(depthwise_i8_rows)};
  return &kernel;
}
#else
const hai_depthwise_i8_kernel* HAI_KERNEL(depthwise_i8)(void) { return 0; }
#endif

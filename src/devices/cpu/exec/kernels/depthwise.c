/* depthwise_f32, depthwise_s8: direct depthwise convolution, vectorised over channels. See depthwise.h.
 *
 * A block of channels walks along the row: 3x3 kernels keep their nine weight vectors in registers (and, with stride 1,
 * the two columns that neighbouring windows share), larger ones share each weight vector among four pixels. i8 goes
 * through f32 lanes: integers below 2^24 are exact there, and a fused multiply-add is the cheapest 8-bit product that
 * all instruction sets have.
 */
#include "devices/cpu/exec/kernels/depthwise.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

enum { kF32 = 0, kS8 = 1, kU8 = 2 };
#define PIXELS 4

/* `tail` 0: HAI_LANES channels, else so many. */
HAI_INLINE vec load_input(const char* p, const int kind, const int tail) {
  if (kind == kF32) {
    const float* x = (const float*)(const void*)p;
    return tail == 0 ? v_load(x) : v_load_n(x, tail);
  }
  if (kind == kS8) {
    const int8_t* x = (const int8_t*)p;
    return v_from_i(tail == 0 ? i_load_s8(x) : i_load_s8_n(x, tail));
  }
  const uint8_t* x = (const uint8_t*)p;
  return v_from_i(tail == 0 ? i_load_u8(x) : i_load_u8_n(x, tail));
}

HAI_INLINE void store_pixel(const hai_depthwise* d, int64_t pixel, int64_t c, vec sum, const int kind, const int tail) {
  if (kind == kF32) {
    const vec y = v_min(v_set(d->hi), v_max(v_set(d->lo), sum));
    float* out = (float*)d->out + pixel * d->out_stride + c;
    if (tail == 0) {
      v_store(out, y);
    } else {
      v_store_n(out, y, tail);
    }
    return;
  }
  if (d->sums != 0) {
    i_store(d->sums + pixel * d->channels_padded + c, i_exact(sum));
    return;
  }
  const vec real = v_min(v_set(d->hi), v_max(v_set(d->lo), v_mul(sum, v_load(d->multiplier + c))));
  const ivec q = i_add(i_round(real), i_set(d->zero_point));
  uint8_t* out = (uint8_t*)d->out + pixel * d->out_stride + c;
  if (tail == 0) {
    i_store_bytes(out, q);
  } else {
    i_store_bytes_n(out, q, tail);
  }
}

/* A pixel whose window crosses the left or right border: columns outside are read from the idle pixel. */
HAI_INLINE void border_pixel(const hai_depthwise* d, int64_t pixel, int64_t c, const int kind, const int tail) {
  const int64_t element = kind == kF32 ? 4 : 1;
  const int64_t col0 = (d->first_col + pixel) * d->stride_cols - d->pad_left;
  vec sum = v_load(d->bias + c);
  const float* weights = d->weights + c;
  for (int64_t r = 0; r < d->kernel_rows; ++r) {
    const char* row = (const char*)d->rows[r];
    for (int64_t k = 0; k < d->kernel_cols; ++k, weights += d->channels_padded) {
      const int64_t col = col0 + k * d->dilation_cols;
      const char* x = col >= 0 && col < d->image_cols ? row + col * d->pixel_elements * element : (const char*)d->idle;
      sum = v_fma(load_input(x + c * element, kind, tail), v_load(weights), sum);
    }
  }
  store_pixel(d, pixel, c, sum, kind, tail);
}

/* 3x3 with the weights in registers. `x[3 * r + k]` is where tap (r, k) of the first pixel reads. */
typedef struct {
  const char* x[9];
} taps_3x3;

HAI_INLINE vec sum_3x3(const taps_3x3* taps, const vec* w, vec sum, const int kind, const int tail) {
  HAI_UNROLL
  for (int t = 0; t < 9; ++t) sum = v_fma(load_input(taps->x[t], kind, tail), w[t], sum);
  return sum;
}

HAI_INLINE taps_3x3 taps_of_pixel(const hai_depthwise* d, int64_t pixel, int64_t c, const int kind) {
  const int64_t element = kind == kF32 ? 4 : 1;
  const int64_t col0 = (d->first_col + pixel) * d->stride_cols - d->pad_left;
  taps_3x3 out;
  HAI_UNROLL
  for (int k = 0; k < 3; ++k) {
    const int64_t col = col0 + k * d->dilation_cols;
    const int inside = col >= 0 && col < d->image_cols;
    HAI_UNROLL
    for (int r = 0; r < 3; ++r) {
      const char* x = inside ? (const char*)d->rows[r] + col * d->pixel_elements * element : (const char*)d->idle;
      out.x[3 * r + k] = x + c * element;
    }
  }
  return out;
}

#if defined(HAI_VECTOR_AVX512) || defined(HAI_VECTOR_NEON)
/* Stride 1, no dilation: two of three columns are those of the pixel before. Needs more than 16 registers. */
HAI_INLINE void slide_3x3(const hai_depthwise* d, int64_t begin, int64_t end, int64_t c, const vec* w, vec bias,
                          const int kind, const int tail) {
  const int64_t step = d->pixel_elements * (kind == kF32 ? 4 : 1);
  const taps_3x3 first = taps_of_pixel(d, begin, c, kind);
  const char* row0 = first.x[2];
  const char* row1 = first.x[5];
  const char* row2 = first.x[8];
  vec a0 = load_input(first.x[0], kind, tail);
  vec b0 = load_input(first.x[3], kind, tail);
  vec c0 = load_input(first.x[6], kind, tail);
  vec a1 = load_input(first.x[1], kind, tail);
  vec b1 = load_input(first.x[4], kind, tail);
  vec c1 = load_input(first.x[7], kind, tail);
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    const vec a2 = load_input(row0, kind, tail);
    const vec b2 = load_input(row1, kind, tail);
    const vec c2 = load_input(row2, kind, tail);
    vec sum = v_fma(a0, w[0], bias);
    sum = v_fma(a1, w[1], sum);
    sum = v_fma(a2, w[2], sum);
    sum = v_fma(b0, w[3], sum);
    sum = v_fma(b1, w[4], sum);
    sum = v_fma(b2, w[5], sum);
    sum = v_fma(c0, w[6], sum);
    sum = v_fma(c1, w[7], sum);
    sum = v_fma(c2, w[8], sum);
    store_pixel(d, pixel, c, sum, kind, tail);
    a0 = a1;
    b0 = b1;
    c0 = c1;
    a1 = a2;
    b1 = b2;
    c1 = c2;
    row0 += step;
    row1 += step;
    row2 += step;
  }
}
#endif

/* Any stride and dilation. Three row pointers rather than nine: registers are few. */
HAI_INLINE void inner_3x3(const hai_depthwise* d, int64_t begin, int64_t end, int64_t c, const vec* w, vec bias,
                          const int kind, const int tail) {
  const int64_t step = d->pixel_elements * (kind == kF32 ? 4 : 1);
  const int64_t tap = d->dilation_cols * step;
  const int64_t move = d->stride_cols * step;
  const taps_3x3 first = taps_of_pixel(d, begin, c, kind);
  const char* row0 = first.x[0];
  const char* row1 = first.x[3];
  const char* row2 = first.x[6];
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    vec sum = v_fma(load_input(row0, kind, tail), w[0], bias);
    sum = v_fma(load_input(row0 + tap, kind, tail), w[1], sum);
    sum = v_fma(load_input(row0 + 2 * tap, kind, tail), w[2], sum);
    sum = v_fma(load_input(row1, kind, tail), w[3], sum);
    sum = v_fma(load_input(row1 + tap, kind, tail), w[4], sum);
    sum = v_fma(load_input(row1 + 2 * tap, kind, tail), w[5], sum);
    sum = v_fma(load_input(row2, kind, tail), w[6], sum);
    sum = v_fma(load_input(row2 + tap, kind, tail), w[7], sum);
    sum = v_fma(load_input(row2 + 2 * tap, kind, tail), w[8], sum);
    store_pixel(d, pixel, c, sum, kind, tail);
    row0 += move;
    row1 += move;
    row2 += move;
  }
}

HAI_INLINE void block_3x3(const hai_depthwise* d, int64_t begin, int64_t end, int64_t c, const int kind,
                          const int tail) {
  vec w[9];
  HAI_UNROLL
  for (int t = 0; t < 9; ++t) w[t] = v_load(d->weights + t * d->channels_padded + c);
  const vec bias = v_load(d->bias + c);
  for (int64_t pixel = 0; pixel < d->col_count; ++pixel) {
    if (pixel == begin && begin < end) {
#if defined(HAI_VECTOR_AVX512) || defined(HAI_VECTOR_NEON)
      if (d->stride_cols == 1 && d->dilation_cols == 1) {
        slide_3x3(d, begin, end, c, w, bias, kind, tail);
        pixel = end - 1;
        continue;
      }
#endif
      inner_3x3(d, begin, end, c, w, bias, kind, tail);
      pixel = end - 1;
      continue;
    }
    const taps_3x3 taps = taps_of_pixel(d, pixel, c, kind);
    store_pixel(d, pixel, c, sum_3x3(&taps, w, bias, kind, tail), kind, tail);
  }
}

HAI_INLINE void inner_pixels(const hai_depthwise* d, int64_t pixel, int64_t c, const int count, const int kind,
                             const int tail) {
  const int64_t element = kind == kF32 ? 4 : 1;
  const int64_t step = d->pixel_elements * element;
  const int64_t tap = d->dilation_cols * step;
  const int64_t move = d->stride_cols * step;
  const int64_t first = ((d->first_col + pixel) * d->stride_cols - d->pad_left) * step + c * element;
  const float* weights = d->weights + c;
  vec sum[PIXELS];
  HAI_UNROLL
  for (int p = 0; p < count; ++p) sum[p] = v_load(d->bias + c);
  for (int64_t r = 0; r < d->kernel_rows; ++r) {
    const char* x = (const char*)d->rows[r] + first;
    for (int64_t k = 0; k < d->kernel_cols; ++k) {
      const vec w = v_load(weights);
      HAI_UNROLL
      for (int p = 0; p < count; ++p) sum[p] = v_fma(load_input(x + p * move, kind, tail), w, sum[p]);
      weights += d->channels_padded;
      x += tap;
    }
  }
  HAI_UNROLL
  for (int p = 0; p < count; ++p) store_pixel(d, pixel + p, c, sum[p], kind, tail);
}

HAI_INLINE void channel_block(const hai_depthwise* d, int64_t begin, int64_t end, int64_t c, const int kind,
                              const int tail) {
  if (d->kernel_rows == 3 && d->kernel_cols == 3) {
    block_3x3(d, begin, end, c, kind, tail);
    return;
  }
  int64_t pixel = 0;
  for (; pixel < begin; ++pixel) border_pixel(d, pixel, c, kind, tail);
  for (; pixel + PIXELS <= end; pixel += PIXELS) inner_pixels(d, pixel, c, PIXELS, kind, tail);
  for (; pixel < end; ++pixel) inner_pixels(d, pixel, c, 1, kind, tail);
  for (pixel = end; pixel < d->col_count; ++pixel) border_pixel(d, pixel, c, kind, tail);
}

/* Columns of the range whose window lies inside the image: [begin, end). */
HAI_INLINE void inside_range(const hai_depthwise* d, int64_t* begin, int64_t* end) {
  int64_t first = (d->pad_left + d->stride_cols - 1) / d->stride_cols;
  const int64_t last_start = d->image_cols - 1 - (d->kernel_cols - 1) * d->dilation_cols + d->pad_left;
  int64_t after = last_start < 0 ? 0 : last_start / d->stride_cols + 1;
  const int64_t limit = d->first_col + d->col_count;
  first = first < d->first_col ? d->first_col : first > limit ? limit : first;
  after = after < first ? first : after > limit ? limit : after;
  *begin = first - d->first_col;
  *end = after - d->first_col;
}

/* The parameters are copied: stores through `out` could otherwise change them for all the compiler knows, and each
 * pixel would load them again. */
HAI_INLINE void run(const hai_depthwise* given, const int kind) {
  hai_depthwise copy = *given;
  if (copy.pixel_elements == 0) copy.pixel_elements = copy.channels;
  const hai_depthwise* d = &copy;
  int64_t begin = 0;
  int64_t end = 0;
  inside_range(d, &begin, &end);
  int64_t c = 0;
  for (; c + HAI_LANES <= d->channels; c += HAI_LANES) channel_block(d, begin, end, c, kind, 0);
  if (c < d->channels) channel_block(d, begin, end, c, kind, (int)(d->channels - c));
}

void HAI_KERNEL(depthwise_f32)(const hai_depthwise* d);
void HAI_KERNEL(depthwise_f32)(const hai_depthwise* d) { run(d, kF32); }

void HAI_KERNEL(depthwise_s8)(const hai_depthwise* d);
void HAI_KERNEL(depthwise_s8)(const hai_depthwise* d) {
  if (d->input_signed) {
    run(d, kS8);
  } else {
    run(d, kU8);
  }
}

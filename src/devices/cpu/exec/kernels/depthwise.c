/* depthwise_f32, depthwise_s8: direct depthwise convolution, vectorised over channels. See depthwise.h.
 *
 * A block of channels walks along the row: 3x3 kernels keep their nine weight vectors in registers, larger ones share
 * each weight vector among four pixels. i8 goes through f32 lanes: integers below 2^24 are exact there, and a fused
 * multiply-add is the cheapest 8-bit product that all instruction sets have.
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

/* A pixel whose window crosses the left or right border. */
HAI_INLINE void border_pixel(const hai_depthwise* d, int64_t pixel, int64_t c, const int kind, const int tail) {
  const int64_t element = kind == kF32 ? 4 : 1;
  const int64_t col0 = (d->first_col + pixel) * d->stride_cols - d->pad_left;
  const vec outside = v_set((float)d->input_zero_point);
  vec sum = v_load(d->bias + c);
  const float* weights = d->weights + c;
  for (int64_t r = 0; r < d->kernel_rows; ++r) {
    const char* row = (const char*)d->rows[r];
    for (int64_t k = 0; k < d->kernel_cols; ++k, weights += d->channels_padded) {
      const int64_t col = col0 + k * d->dilation_cols;
      if (col >= 0 && col < d->image_cols) {
        const char* x = row + (col * d->channels + c) * element;
        sum = v_fma(load_input(x, kind, tail), v_load(weights), sum);
      } else if (kind != kF32) {
        sum = v_fma(outside, v_load(weights), sum);
      }
    }
  }
  store_pixel(d, pixel, c, sum, kind, tail);
}

HAI_INLINE void inner_3x3(const hai_depthwise* d, int64_t begin, int64_t end, int64_t c, const int kind,
                          const int tail) {
  const int64_t element = kind == kF32 ? 4 : 1;
  const int64_t step = d->channels * element;
  const int64_t tap = d->dilation_cols * step;
  const int64_t move = d->stride_cols * step;
  const int64_t first = ((d->first_col + begin) * d->stride_cols - d->pad_left) * step + c * element;
  const char* row0 = (const char*)d->rows[0] + first;
  const char* row1 = (const char*)d->rows[1] + first;
  const char* row2 = (const char*)d->rows[2] + first;
  vec w[9];
  HAI_UNROLL
  for (int t = 0; t < 9; ++t) w[t] = v_load(d->weights + t * d->channels_padded + c);
  const vec bias = v_load(d->bias + c);
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    vec sum = bias;
    sum = v_fma(load_input(row0, kind, tail), w[0], sum);
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

HAI_INLINE void inner_pixels(const hai_depthwise* d, int64_t pixel, int64_t c, const int count, const int kind,
                             const int tail) {
  const int64_t element = kind == kF32 ? 4 : 1;
  const int64_t step = d->channels * element;
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
  for (int64_t pixel = 0; pixel < begin; ++pixel) border_pixel(d, pixel, c, kind, tail);
  if (d->kernel_rows == 3 && d->kernel_cols == 3) {
    inner_3x3(d, begin, end, c, kind, tail);
  } else {
    int64_t pixel = begin;
    for (; pixel + PIXELS <= end; pixel += PIXELS) inner_pixels(d, pixel, c, PIXELS, kind, tail);
    for (; pixel < end; ++pixel) inner_pixels(d, pixel, c, 1, kind, tail);
  }
  for (int64_t pixel = end; pixel < d->col_count; ++pixel) border_pixel(d, pixel, c, kind, tail);
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
  const hai_depthwise copy = *given;
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

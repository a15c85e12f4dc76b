/* depthwise_s16: see depthwise_s16.h. Four pixels share each weight vector; pixels at the left and right border read
 * columns outside of the image from the idle pixel. Integer sums are the same in either arithmetic (in f64, below 2^53,
 * fusing product and addition rounds nothing): 32-bit ones take HAI_LANES channels a vector. */
#include "devices/cpu/exec/kernels/depthwise_s16.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector64.h"

#define PIXELS 4

/* `tail` 0: HAI_LANES64 channels, else so many. */
HAI_INLINE dvec load_input(const int16_t* x, int tail) { return tail == 0 ? d_from_s16(x) : d_from_s16_n(x, tail); }

HAI_INLINE void store_sums(const hai_depthwise_s16* d, int64_t pixel, int64_t c, dvec sum, int tail) {
  const dvec real = d_mul(sum, d_from_f32(d->multiplier + c));
  const int64_t at = pixel * d->out_stride + c;
  if (d->out_f32 != 0) {
    if (tail == 0) {
      d_store_f32(d->out_f32 + at, real);
    } else {
      d_store_f32_n(d->out_f32 + at, real, tail);
    }
    return;
  }
  const dvec clamped = d_min(d_set(d->hi), d_max(d_set(d->lo), real));
  if (tail == 0) {
    d_store_s16(d->out + at, clamped, d->zero_point);
  } else {
    d_store_s16_n(d->out + at, clamped, d->zero_point, tail);
  }
}

HAI_INLINE const int16_t* border_tap(const hai_depthwise_s16* d, const int16_t* row, int64_t col) {
  return col >= 0 && col < d->image_cols ? row + col * d->pixel_elements : (const int16_t*)d->idle;
}

HAI_INLINE void border_pixel(const hai_depthwise_s16* d, int64_t pixel, int64_t c, int tail) {
  const int64_t col0 = (d->first_col + pixel) * d->stride_cols - d->pad_left;
  dvec sum = d_load(d->bias + c);
  const int16_t* weights = d->weights + c;
  for (int64_t r = 0; r < d->kernel_rows; ++r) {
    const int16_t* row = (const int16_t*)d->rows[r];
    for (int64_t k = 0; k < d->kernel_cols; ++k, weights += d->channels_padded) {
      const int16_t* x = border_tap(d, row, col0 + k * d->dilation_cols);
      sum = d_fma(load_input(x + c, tail), d_from_s16(weights), sum);
    }
  }
  store_sums(d, pixel, c, sum, tail);
}

HAI_INLINE void inner_pixels(const hai_depthwise_s16* d, int64_t pixel, int64_t c, const int count, int tail) {
  const int64_t tap = d->dilation_cols * d->pixel_elements;
  const int64_t move = d->stride_cols * d->pixel_elements;
  const int64_t first = ((d->first_col + pixel) * d->stride_cols - d->pad_left) * d->pixel_elements + c;
  const int16_t* weights = d->weights + c;
  dvec sum[PIXELS];
  HAI_UNROLL
  for (int p = 0; p < count; ++p) sum[p] = d_load(d->bias + c);
  for (int64_t r = 0; r < d->kernel_rows; ++r) {
    const int16_t* x = (const int16_t*)d->rows[r] + first;
    for (int64_t k = 0; k < d->kernel_cols; ++k) {
      const dvec w = d_from_s16(weights);
      HAI_UNROLL
      for (int p = 0; p < count; ++p) sum[p] = d_fma(load_input(x + p * move, tail), w, sum[p]);
      weights += d->channels_padded;
      x += tap;
    }
  }
  HAI_UNROLL
  for (int p = 0; p < count; ++p) store_sums(d, pixel + p, c, sum[p], tail);
}

/* HAI_LANES channels in 32-bit sums. */
HAI_INLINE void store_sums_s32(const hai_depthwise_s16* d, int64_t pixel, int64_t c, ivec sum) {
  HAI_UNROLL
  for (int part = 0; part < HAI_LANES / HAI_LANES64; ++part)
    store_sums(d, pixel, c + part * HAI_LANES64, d_from_i(sum, part), 0);
}

HAI_INLINE void border_pixel_s32(const hai_depthwise_s16* d, int64_t pixel, int64_t c) {
  const int64_t col0 = (d->first_col + pixel) * d->stride_cols - d->pad_left;
  ivec sum = i_load(d->bias_s32 + c);
  const int32_t* weights = d->weights_s32 + c;
  for (int64_t r = 0; r < d->kernel_rows; ++r) {
    const int16_t* row = (const int16_t*)d->rows[r];
    for (int64_t k = 0; k < d->kernel_cols; ++k, weights += d->channels_padded) {
      const int16_t* x = border_tap(d, row, col0 + k * d->dilation_cols);
      sum = i_madd_s16(sum, i_load_s16(x + c), i_load(weights));
    }
  }
  store_sums_s32(d, pixel, c, sum);
}

HAI_INLINE void inner_pixels_s32(const hai_depthwise_s16* d, int64_t pixel, int64_t c, const int count) {
  const int64_t tap = d->dilation_cols * d->pixel_elements;
  const int64_t move = d->stride_cols * d->pixel_elements;
  const int64_t first = ((d->first_col + pixel) * d->stride_cols - d->pad_left) * d->pixel_elements + c;
  const int32_t* weights = d->weights_s32 + c;
  ivec sum[PIXELS];
  HAI_UNROLL
  for (int p = 0; p < count; ++p) sum[p] = i_load(d->bias_s32 + c);
  for (int64_t r = 0; r < d->kernel_rows; ++r) {
    const int16_t* x = (const int16_t*)d->rows[r] + first;
    for (int64_t k = 0; k < d->kernel_cols; ++k) {
      const ivec w = i_load(weights);
      HAI_UNROLL
      for (int p = 0; p < count; ++p) sum[p] = i_madd_s16(sum[p], i_load_s16(x + p * move), w);
      weights += d->channels_padded;
      x += tap;
    }
  }
  HAI_UNROLL
  for (int p = 0; p < count; ++p) store_sums_s32(d, pixel + p, c, sum[p]);
}

/* `narrow`: HAI_LANES channels in 32-bit sums; else see load_input. */
HAI_INLINE void border(const hai_depthwise_s16* d, int64_t pixel, int64_t c, const int narrow, const int tail) {
  if (narrow) {
    border_pixel_s32(d, pixel, c);
  } else {
    border_pixel(d, pixel, c, tail);
  }
}

HAI_INLINE void inner(const hai_depthwise_s16* d, int64_t pixel, int64_t c, const int count, const int narrow,
                      const int tail) {
  if (narrow) {
    inner_pixels_s32(d, pixel, c, count);
  } else {
    inner_pixels(d, pixel, c, count, tail);
  }
}

HAI_INLINE void channel_block(const hai_depthwise_s16* d, int64_t begin, int64_t end, int64_t c, const int narrow,
                              const int tail) {
  int64_t pixel = 0;
  for (; pixel < begin; ++pixel) border(d, pixel, c, narrow, tail);
  for (; pixel + PIXELS <= end; pixel += PIXELS) inner(d, pixel, c, PIXELS, narrow, tail);
  for (; pixel < end; ++pixel) inner(d, pixel, c, 1, narrow, tail);
  for (pixel = end; pixel < d->col_count; ++pixel) border(d, pixel, c, narrow, tail);
}

/* Columns of the range whose window lies inside the image: [begin, end). */
HAI_INLINE void inside_range(const hai_depthwise_s16* d, int64_t* begin, int64_t* end) {
  int64_t first = (d->pad_left + d->stride_cols - 1) / d->stride_cols;
  const int64_t last_start = d->image_cols - 1 - (d->kernel_cols - 1) * d->dilation_cols + d->pad_left;
  int64_t after = last_start < 0 ? 0 : last_start / d->stride_cols + 1;
  const int64_t limit = d->first_col + d->col_count;
  first = first < d->first_col ? d->first_col : first > limit ? limit : first;
  after = after < first ? first : after > limit ? limit : after;
  *begin = first - d->first_col;
  *end = after - d->first_col;
}

void HAI_KERNEL(depthwise_s16)(const hai_depthwise_s16* d);
void HAI_KERNEL(depthwise_s16)(const hai_depthwise_s16* given) {
  hai_depthwise_s16 copy = *given; /* stores cannot change it */
  if (copy.pixel_elements == 0) copy.pixel_elements = copy.channels;
  const hai_depthwise_s16* d = &copy;
  int64_t begin = 0;
  int64_t end = 0;
  inside_range(d, &begin, &end);
  int64_t c = 0;
  if (d->weights_s32 != 0) {
    for (; c + HAI_LANES <= d->channels; c += HAI_LANES) channel_block(d, begin, end, c, 1, 0);
    /* The last block overlaps the one before: what both compute is the same. */
    if (c < d->channels) channel_block(d, begin, end, d->channels - HAI_LANES, 1, 0);
    return;
  }
  for (; c + HAI_LANES64 <= d->channels; c += HAI_LANES64) channel_block(d, begin, end, c, 0, 0);
#if HAI_LANES64 > 1
  if (c < d->channels) channel_block(d, begin, end, c, 0, (int)(d->channels - c));
#endif
}

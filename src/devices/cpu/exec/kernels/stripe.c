/* stripe_copy: see stripe.h. Columns outside of the image are filled on the left and right, whole rows above and below;
 * what is inside goes run by run (one run a row when columns are taken without steps and pixels follow each other).
 */
#include "devices/cpu/exec/kernels/stripe.h"

#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/vector.h"

HAI_INLINE void fill(const hai_stripe* stripe, char* out, int64_t count) {
  if (stripe->kind == HAI_STRIPE_BYTES) {
    __builtin_memset(out, stripe->padding, (uint64_t)count);
  } else if (stripe->kind == HAI_STRIPE_S16) {
    int16_t* wide = (int16_t*)(void*)out;
    const int16_t zero_point = (int16_t)stripe->zero_point;
    for (int64_t i = 0; i < count; ++i) wide[i] = zero_point;
  } else {
    __builtin_memset(out, 0, (uint64_t)(count * (stripe->kind == HAI_STRIPE_F32 ? 4 : 2)));
  }
}

HAI_INLINE void copy(const hai_stripe* stripe, char* out, const char* from, int64_t count) {
  switch (stripe->kind) {
    case HAI_STRIPE_F32:
      __builtin_memcpy(out, from, (uint64_t)count * 4);
      break;
    case HAI_STRIPE_S16:
      __builtin_memcpy(out, from, (uint64_t)count * 2);
      break;
    case HAI_STRIPE_BYTES: {
      const uint8_t flip = stripe->flip;
      for (int64_t i = 0; i < count; ++i) out[i] = (char)((uint8_t)from[i] ^ flip);
      break;
    }
    case HAI_STRIPE_S8_TO_S16: {
      int16_t* wide = (int16_t*)(void*)out;
      const int16_t zero_point = (int16_t)stripe->zero_point;
      for (int64_t i = 0; i < count; ++i) wide[i] = (int16_t)((const int8_t*)from)[i] - zero_point;
      break;
    }
    case HAI_STRIPE_U8_TO_S16: {
      int16_t* wide = (int16_t*)(void*)out;
      const int16_t zero_point = (int16_t)stripe->zero_point;
      for (int64_t i = 0; i < count; ++i) wide[i] = (int16_t)((const uint8_t*)from)[i] - zero_point;
      break;
    }
  }
}

/* Smallest i >= 0 with first + i * step >= bound, at most count. */
HAI_INLINE int64_t first_at_least(int64_t first, int64_t step, int64_t bound, int64_t count) {
  const int64_t i = first >= bound ? 0 : (bound - first + step - 1) / step;
  return i < count ? i : count;
}

void HAI_KERNEL(stripe_copy)(const hai_stripe* stripe);
void HAI_KERNEL(stripe_copy)(const hai_stripe* stripe) {
  const int64_t from_bytes = stripe->kind == HAI_STRIPE_F32 ? 4 : stripe->kind == HAI_STRIPE_S16 ? 2 : 1;
  const int64_t to_bytes = stripe->kind == HAI_STRIPE_F32 ? 4 : stripe->kind == HAI_STRIPE_BYTES ? 1 : 2;
  const int64_t channels = stripe->channels;
  const int64_t pixel = stripe->pixel_elements == 0 ? channels : stripe->pixel_elements;
  const int64_t inside_begin = first_at_least(stripe->first_col, stripe->col_step, 0, stripe->col_count);
  const int64_t inside_end = first_at_least(stripe->first_col, stripe->col_step, stripe->image_cols, stripe->col_count);
  char* out = (char*)stripe->out;
  for (int64_t r = 0; r < stripe->row_count; ++r) {
    const int64_t row = stripe->first_row + r * stripe->row_step;
    if (row < 0 || row >= stripe->image_rows || inside_begin >= inside_end) {
      fill(stripe, out, stripe->col_count * channels);
      out += stripe->col_count * channels * to_bytes;
      continue;
    }
    fill(stripe, out, inside_begin * channels);
    out += inside_begin * channels * to_bytes;
    const int64_t first = row * stripe->image_cols + stripe->first_col + inside_begin * stripe->col_step;
    const char* from = (const char*)stripe->image + first * pixel * from_bytes;
    if (stripe->col_step == 1 && pixel == channels) {
      const int64_t count = (inside_end - inside_begin) * channels;
      copy(stripe, out, from, count);
      out += count * to_bytes;
    } else {
      for (int64_t i = inside_begin; i < inside_end; ++i) {
        copy(stripe, out, from, channels);
        out += channels * to_bytes;
        from += stripe->col_step * pixel * from_bytes;
      }
    }
    fill(stripe, out, (stripe->col_count - inside_end) * channels);
    out += (stripe->col_count - inside_end) * channels * to_bytes;
  }
}

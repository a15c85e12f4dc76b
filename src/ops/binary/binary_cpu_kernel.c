/* Element-wise functions of two operands over a block of rows and columns: f32 and 8-bit integers; over a row: 16-bit
 * ones.
 *
 * The caller folds broadcasting into strides: between rows any number of elements, between columns 1 or 0. Integer
 * loops call types/arithmetic.h itself, so they are the reference's arithmetic in vector form; y may be a or b. */
#include "devices/cpu/exec/kernel_name.h"
#include "devices/cpu/exec/kernels/float_math.h"
#include "types/arithmetic.h"
#include "types/binary_table.h"

/* One row in the three ways of stepping through columns. */
#define HAI_ROW_F32(name, onnx, f32, formula)                                                                 \
  static void name##_row(const float* a, const float* b, float* out, int64_t count, int a_step, int b_step) { \
    if (a_step != 0 && b_step != 0) {                                                                         \
      HAI_INDEPENDENT                                                                                         \
      for (int64_t i = 0; i < count; ++i) {                                                                   \
        const float x = a[i];                                                                                 \
        const float y = b[i];                                                                                 \
        out[i] = f32;                                                                                         \
      }                                                                                                       \
    } else if (a_step != 0) {                                                                                 \
      const float y = b[0];                                                                                   \
      HAI_INDEPENDENT                                                                                         \
      for (int64_t i = 0; i < count; ++i) {                                                                   \
        const float x = a[i];                                                                                 \
        out[i] = f32;                                                                                         \
      }                                                                                                       \
    } else {                                                                                                  \
      const float x = a[0];                                                                                   \
      HAI_INDEPENDENT                                                                                         \
      for (int64_t i = 0; i < count; ++i) {                                                                   \
        const float y = b[b_step != 0 ? i : 0];                                                               \
        out[i] = f32;                                                                                         \
      }                                                                                                       \
    }                                                                                                         \
  }
HAI_BINARY_TABLE(HAI_ROW_F32)

void HAI_KERNEL(hai_binary_f32)(int32_t function, const float* a, const float* b, float* y, int64_t rows,
                                int64_t columns, int64_t a_row, int64_t b_row, int a_step, int b_step);
void HAI_KERNEL(hai_binary_f32)(int32_t function, const float* a, const float* b, float* y, int64_t rows,
                                int64_t columns, int64_t a_row, int64_t b_row, int a_step, int b_step) {
  for (int64_t r = 0; r < rows; ++r) {
    switch (function) {
#define HAI_CASE(name, ...)                                                             \
  case HAI_BINARY_##name:                                                               \
    name##_row(a + r * a_row, b + r * b_row, y + r * columns, columns, a_step, b_step); \
    break;
      HAI_BINARY_TABLE(HAI_CASE)
      default:
        return;
    }
  }
}

static inline int32_t q8_add(int32_t a, int32_t b, const hai_binary_q8* p, hai_output_range out) {
  return hai_add(a, b, p->zero_a, p->zero_b, p->m_a, p->m_b, out);
}
static inline int32_t q8_sub(int32_t a, int32_t b, const hai_binary_q8* p, hai_output_range out) {
  return hai_sub(a, b, p->zero_a, p->zero_b, p->m_a, p->m_b, out);
}
static inline int32_t q8_mul(int32_t a, int32_t b, const hai_binary_q8* p, hai_output_range out) {
  return hai_mul(a, b, p->zero_a, p->zero_b, p->m_a, out);
}
static inline int32_t q8_min(int32_t a, int32_t b, const hai_binary_q8* p, hai_output_range out) {
  const int32_t left = hai_rescale(a, p->zero_a, p->m_a, out);
  const int32_t right = hai_rescale(b, p->zero_b, p->m_b, out);
  return left < right ? left : right;
}
static inline int32_t q8_max(int32_t a, int32_t b, const hai_binary_q8* p, hai_output_range out) {
  const int32_t left = hai_rescale(a, p->zero_a, p->m_a, out);
  const int32_t right = hai_rescale(b, p->zero_b, p->m_b, out);
  return left > right ? left : right;
}
static inline int32_t q8_prelu(int32_t a, int32_t b, const hai_binary_q8* p, hai_output_range out) {
  const int32_t positive = hai_rescale(a, p->zero_a, p->m_a, out);
  const int32_t negative = hai_mul(a, b, p->zero_a, p->zero_b, p->m_b, out);
  return a < p->zero_a ? negative : positive;
}

#define HAI_ROW_Q8(name)                                                                                         \
  static void name##_row_q8(const hai_binary_q8* parameters, const uint8_t* a, const uint8_t* b, uint8_t* y,     \
                            int64_t count, int a_step, int b_step) {                                             \
    const hai_binary_q8 p = *parameters; /* a copy: stores to y may not change it */                             \
    const hai_output_range out = {p.zero_y, p.lo, p.hi};                                                         \
    if (a_step != 0 && b_step != 0) {                                                                            \
      HAI_INDEPENDENT                                                                                            \
      for (int64_t i = 0; i < count; ++i) {                                                                      \
        y[i] = (uint8_t)(q8_##name((uint8_t)(a[i] ^ p.flip_a), (uint8_t)(b[i] ^ p.flip_b), &p, out)) ^ p.flip_y; \
      }                                                                                                          \
    } else if (a_step != 0) {                                                                                    \
      const int32_t right = (uint8_t)(b[0] ^ p.flip_b);                                                          \
      HAI_INDEPENDENT                                                                                            \
      for (int64_t i = 0; i < count; ++i) {                                                                      \
        y[i] = (uint8_t)(q8_##name((uint8_t)(a[i] ^ p.flip_a), right, &p, out)) ^ p.flip_y;                      \
      }                                                                                                          \
    } else {                                                                                                     \
      const int32_t left = (uint8_t)(a[0] ^ p.flip_a);                                                           \
      HAI_INDEPENDENT                                                                                            \
      for (int64_t i = 0; i < count; ++i) {                                                                      \
        y[i] = (uint8_t)(q8_##name(left, (uint8_t)(b[b_step != 0 ? i : 0] ^ p.flip_b), &p, out)) ^ p.flip_y;     \
      }                                                                                                          \
    }                                                                                                            \
  }
HAI_ROW_Q8(add)
HAI_ROW_Q8(sub)
HAI_ROW_Q8(mul)
HAI_ROW_Q8(min)
HAI_ROW_Q8(max)
HAI_ROW_Q8(prelu)

static void row_q8(int32_t function, const hai_binary_q8* p, const uint8_t* a, const uint8_t* b, uint8_t* y,
                   int64_t count, int a_step, int b_step) {
  switch (function) {
    case HAI_BINARY_add:
      add_row_q8(p, a, b, y, count, a_step, b_step);
      break;
    case HAI_BINARY_sub:
      sub_row_q8(p, a, b, y, count, a_step, b_step);
      break;
    case HAI_BINARY_mul:
      mul_row_q8(p, a, b, y, count, a_step, b_step);
      break;
    case HAI_BINARY_min:
      min_row_q8(p, a, b, y, count, a_step, b_step);
      break;
    case HAI_BINARY_prelu:
      prelu_row_q8(p, a, b, y, count, a_step, b_step);
      break;
    default:
      max_row_q8(p, a, b, y, count, a_step, b_step);
      break;
  }
}

/* Short rows against one row that all share (a few channels): the shared row is repeated so that several rows run as
 * one long one. Rows shorter than a vector would run element by element. */
#define HAI_REPEATED 512
static void repeated_rows_q8(int32_t function, const hai_binary_q8* p, const uint8_t* a, const uint8_t* b, uint8_t* y,
                             int64_t rows, int64_t columns, int b_is_shared) {
  uint8_t repeated[HAI_REPEATED];
  const uint8_t* shared = b_is_shared ? b : a;
  const int64_t group = HAI_REPEATED / columns;
  for (int64_t r = 0; r < group; ++r) {
    for (int64_t c = 0; c < columns; ++c) repeated[r * columns + c] = shared[c];
  }
  for (int64_t r = 0; r < rows; r += group) {
    const int64_t count = (rows - r < group ? rows - r : group) * columns;
    const uint8_t* left = b_is_shared ? a + r * columns : repeated;
    const uint8_t* right = b_is_shared ? repeated : b + r * columns;
    row_q8(function, p, left, right, y + r * columns, count, 1, 1);
  }
}

void HAI_KERNEL(hai_binary_q8)(int32_t function, const hai_binary_q8* p, const uint8_t* a, const uint8_t* b, uint8_t* y,
                               int64_t rows, int64_t columns, int64_t a_row, int64_t b_row, int a_step, int b_step);
void HAI_KERNEL(hai_binary_q8)(int32_t function, const hai_binary_q8* p, const uint8_t* a, const uint8_t* b, uint8_t* y,
                               int64_t rows, int64_t columns, int64_t a_row, int64_t b_row, int a_step, int b_step) {
  const int b_is_shared = a_row == columns && b_row == 0;
  const int a_is_shared = b_row == columns && a_row == 0;
  if (rows > 4 && columns <= HAI_REPEATED / 4 && a_step != 0 && b_step != 0 && (a_is_shared || b_is_shared)) {
    repeated_rows_q8(function, p, a, b, y, rows, columns, b_is_shared);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    row_q8(function, p, a + r * a_row, b + r * b_row, y + r * columns, columns, a_step, b_step);
  }
}

static inline int32_t q16_add(int32_t a, int32_t b, const hai_binary_q16* p, hai_output_range out) {
  return hai_add(a, b, p->zero_a, p->zero_b, p->m_a, p->m_b, out);
}
static inline int32_t q16_sub(int32_t a, int32_t b, const hai_binary_q16* p, hai_output_range out) {
  return hai_sub(a, b, p->zero_a, p->zero_b, p->m_a, p->m_b, out);
}
static inline int32_t q16_mul(int32_t a, int32_t b, const hai_binary_q16* p, hai_output_range out) {
  return hai_mul_wide(a, b, p->zero_a, p->zero_b, p->m_a, out);
}
static inline int32_t q16_min(int32_t a, int32_t b, const hai_binary_q16* p, hai_output_range out) {
  const int32_t left = hai_rescale_wide(a, p->zero_a, p->m_a, out);
  const int32_t right = hai_rescale_wide(b, p->zero_b, p->m_b, out);
  return left < right ? left : right;
}
static inline int32_t q16_max(int32_t a, int32_t b, const hai_binary_q16* p, hai_output_range out) {
  const int32_t left = hai_rescale_wide(a, p->zero_a, p->m_a, out);
  const int32_t right = hai_rescale_wide(b, p->zero_b, p->m_b, out);
  return left > right ? left : right;
}
static inline int32_t q16_prelu(int32_t a, int32_t b, const hai_binary_q16* p, hai_output_range out) {
  const int32_t positive = hai_rescale_wide(a, p->zero_a, p->m_a, out);
  const int32_t negative = hai_mul_wide(a, b, p->zero_a, p->zero_b, p->m_b, out);
  return a < p->zero_a ? negative : positive;
}

#define HAI_ROW_Q16(name)                                                                                      \
  static void name##_row_q16(const hai_binary_q16* parameters, const int16_t* a, const int16_t* b, int16_t* y, \
                             int64_t count) {                                                                  \
    const hai_binary_q16 p = *parameters; /* a copy: stores to y may not change it */                          \
    const hai_output_range out = {p.zero_y, p.lo, p.hi};                                                       \
    HAI_INDEPENDENT                                                                                            \
    for (int64_t i = 0; i < count; ++i) y[i] = (int16_t)q16_##name(a[i], b[i], &p, out);                       \
  }
HAI_ROW_Q16(add)
HAI_ROW_Q16(sub)
HAI_ROW_Q16(mul)
HAI_ROW_Q16(min)
HAI_ROW_Q16(max)
HAI_ROW_Q16(prelu)

void HAI_KERNEL(hai_binary_q16)(int32_t function, const hai_binary_q16* p, const int16_t* a, const int16_t* b,
                                int16_t* y, int64_t count);
void HAI_KERNEL(hai_binary_q16)(int32_t function, const hai_binary_q16* p, const int16_t* a, const int16_t* b,
                                int16_t* y, int64_t count) {
  switch (function) {
    case HAI_BINARY_add:
      add_row_q16(p, a, b, y, count);
      break;
    case HAI_BINARY_sub:
      sub_row_q16(p, a, b, y, count);
      break;
    case HAI_BINARY_mul:
      mul_row_q16(p, a, b, y, count);
      break;
    case HAI_BINARY_min:
      min_row_q16(p, a, b, y, count);
      break;
    case HAI_BINARY_prelu:
      prelu_row_q16(p, a, b, y, count);
      break;
    default:
      max_row_q16(p, a, b, y, count);
      break;
  }
}

/* 2-D transpose of elements of 1, 2, 4 or 8 bytes: y[column][row] = x[row][column].
 *
 * Tiles of 16 x 16 bytes, 8 x 8 halves, 4 x 4 words and 2 x 2 doubles are transposed in registers by interleaving
 * (log2 of the width stages); the edges go element by element. Columns come in strips of one cache line, so that each
 * line of x that is fetched is used whole before it leaves the cache, and y is written along its rows. Rows of x and y
 * may be unaligned and further apart than they are long. GCC vectors of 16 bytes: the same source for every instruction
 * set.
 */
#include <stdint.h>

#include "devices/cpu/exec/kernel_name.h"

typedef uint8_t bytes_16 __attribute__((vector_size(16)));
typedef uint16_t halves_8 __attribute__((vector_size(16)));
typedef uint32_t words_4 __attribute__((vector_size(16)));
typedef uint64_t doubles_2 __attribute__((vector_size(16)));
typedef bytes_16 unaligned_16 __attribute__((aligned(1), may_alias));

static inline bytes_16 load_16(const unsigned char* p) { return *(const unaligned_16*)p; }
static inline void store_16(unsigned char* p, bytes_16 v) { *(unaligned_16*)p = v; }

#define LOW_1(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH_1(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define LOW_2(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH_2(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LOW_4(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH_4(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LOW_8(a, b) __builtin_shufflevector(a, b, 0, 2)
#define HIGH_8(a, b) __builtin_shufflevector(a, b, 1, 3)

/* One tile of `side` rows and columns, side * bytes == 16. Interleaving row i with row i + side / 2 and repeating that
 * log2(side) times transposes: every stage moves one bit of the row number into the column number. */
#define TILE(name, vector, side, low, high)                                                               \
  static inline void name(const unsigned char* x, int64_t x_stride, unsigned char* y, int64_t y_stride) { \
    vector a[side];                                                                                       \
    vector b[side];                                                                                       \
    for (int i = 0; i < (side); ++i) a[i] = (vector)load_16(x + i * x_stride);                            \
    for (int stage = 1; stage < (side); stage *= 2) {                                                     \
      for (int i = 0; i < (side) / 2; ++i) {                                                              \
        b[2 * i] = low(a[i], a[i + (side) / 2]);                                                          \
        b[2 * i + 1] = high(a[i], a[i + (side) / 2]);                                                     \
      }                                                                                                   \
      for (int i = 0; i < (side); ++i) a[i] = b[i];                                                       \
    }                                                                                                     \
    for (int i = 0; i < (side); ++i) store_16(y + i * y_stride, (bytes_16)a[i]);                          \
  }
TILE(tile_1, bytes_16, 16, LOW_1, HIGH_1)
TILE(tile_2, halves_8, 8, LOW_2, HIGH_2)
TILE(tile_4, words_4, 4, LOW_4, HIGH_4)
TILE(tile_8, doubles_2, 2, LOW_8, HIGH_8)

/* Elements one by one: edges, and matrices narrower than a tile. */
#define EDGE(name, type)                                                                                              \
  typedef type name##_element __attribute__((aligned(1), may_alias));                                                 \
  static inline void name(const unsigned char* x, int64_t x_stride, unsigned char* y, int64_t y_stride, int64_t rows, \
                          int64_t columns) {                                                                          \
    for (int64_t c = 0; c < columns; ++c) {                                                                           \
      name##_element* to = (name##_element*)(y + c * y_stride);                                                       \
      for (int64_t r = 0; r < rows; ++r) to[r] = ((const name##_element*)(x + r * x_stride))[c];                      \
    }                                                                                                                 \
  }
EDGE(edge_1, uint8_t)
EDGE(edge_2, uint16_t)
EDGE(edge_4, uint32_t)
EDGE(edge_8, uint64_t)

#define LINE_BYTES 64

#define MATRIX(name, bytes, tile, edge)                                                                        \
  static void name(const unsigned char* x, int64_t x_stride, unsigned char* y, int64_t y_stride, int64_t rows, \
                   int64_t columns) {                                                                          \
    const int64_t side = 16 / (bytes);                                                                         \
    const int64_t whole_rows = rows / side * side;                                                             \
    const int64_t whole_columns = columns / side * side;                                                       \
    for (int64_t strip = 0; strip < whole_columns; strip += LINE_BYTES / (bytes)) {                            \
      const int64_t strip_end =                                                                                \
          strip + LINE_BYTES / (bytes) < whole_columns ? strip + LINE_BYTES / (bytes) : whole_columns;         \
      for (int64_t r = 0; r < whole_rows; r += side) {                                                         \
        for (int64_t c = strip; c < strip_end; c += side) {                                                    \
          tile(x + r * x_stride + c * (bytes), x_stride, y + c * y_stride + r * (bytes), y_stride);            \
        }                                                                                                      \
      }                                                                                                        \
      edge(x + whole_rows * x_stride + strip * (bytes), x_stride, y + strip * y_stride + whole_rows * (bytes), \
           y_stride, rows - whole_rows, strip_end - strip);                                                    \
    }                                                                                                          \
    edge(x + whole_columns * (bytes), x_stride, y + whole_columns * y_stride, y_stride, rows,                  \
         columns - whole_columns);                                                                             \
  }
MATRIX(matrix_1, 1, tile_1, edge_1)
MATRIX(matrix_2, 2, tile_2, edge_2)
MATRIX(matrix_4, 4, tile_4, edge_4)
MATRIX(matrix_8, 8, tile_8, edge_8)

/* Strides in bytes; element_bytes is 1, 2, 4 or 8. */
void HAI_KERNEL(transpose_2d)(const unsigned char* x, int64_t x_stride_bytes, unsigned char* y, int64_t y_stride_bytes,
                              int64_t rows, int64_t columns, int64_t element_bytes) {
  switch (element_bytes) {
    case 1:
      matrix_1(x, x_stride_bytes, y, y_stride_bytes, rows, columns);
      return;
    case 2:
      matrix_2(x, x_stride_bytes, y, y_stride_bytes, rows, columns);
      return;
    case 4:
      matrix_4(x, x_stride_bytes, y, y_stride_bytes, rows, columns);
      return;
    default:
      matrix_8(x, x_stride_bytes, y, y_stride_bytes, rows, columns);
      return;
  }
}

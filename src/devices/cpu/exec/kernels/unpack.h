/* Weights that are kept small, a panel at a time: nibbles to bytes for integer kernels, integers to f32 for f32 ones.
 */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_UNPACK_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_UNPACK_H_

#include <stdint.h>

/* Nibbles of integer panels: blocks of 64, byte i of a block's 32 holds elements i (low) and 32 + i (high). */
#define HAI_NIBBLE_BLOCK 64

/* w = (float(q) + minus_zero) * scale, rounded once after an exact sum: rows of nr columns, where nr is that of
 * gemm_f32. Nibbles of a row: byte i of nr / 2 holds columns i (low) and nr / 2 + i (high). */
typedef struct {
  const int8_t* packed;
  int32_t nibbles;          /* else bytes */
  int64_t first, count;     /* rows to unpack; `packed` is row 0 */
  int64_t block;            /* rows that share scales */
  const float* scales;      /* [blocks][nr] */
  const float* minus_zeros; /* [blocks][nr]; 0: none */
  float* out;               /* of row `first` */
} hai_dequantize_panel;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_UNPACK_H_ */

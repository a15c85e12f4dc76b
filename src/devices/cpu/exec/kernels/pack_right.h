/* Packing the right operand of an integer matrix product at run time, and what its tiles' sums start from. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_PACK_RIGHT_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_PACK_RIGHT_H_

#include <stdint.h>

/* Into the panel of gemm.h: [k / k_group][nr][k % k_group] of q ^ flip; places past the matrix hold 0. Adds the column
 * sums of what is packed to `sums` (nr of them): 32 bits hold those of HAI_PACK_MOST_K ks. */
#define HAI_PACK_MOST_K 65536
typedef struct {
  const uint8_t* from; /* i8 or u8 */
  int64_t k_step, column_step;
  int64_t k_count;
  int32_t columns; /* 1 .. nr */
  int32_t nr, k_group;
  uint8_t flip; /* 0x80 makes a u8 q the i8 q - 128 */
  int8_t* out;
  int32_t* sums;
} hai_pack_right;

/* sums[row][column] = the low 32 bits of row_terms[row] + column_terms[column], [rows][nr]. */
typedef struct {
  const int64_t* row_terms;
  const int64_t* column_terms;
  int32_t rows, nr;
  int32_t* sums;
} hai_start_sums;

#endif /* HAI_DEVICES_CPU_EXEC_KERNELS_PACK_RIGHT_H_ */

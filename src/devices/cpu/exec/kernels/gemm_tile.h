/* The tile of the matrix products, f32 and integer alike: MR rows of NV vectors of sums, as many as leave registers for
 * a step's vectors and one element; and the end of the kernels' names. */
#ifndef HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_TILE_H_
#define HAI_DEVICES_CPU_EXEC_KERNELS_GEMM_TILE_H_

#include "devices/cpu/exec/kernels/vector.h"

#if defined(HAI_VECTOR_AVX512)
#define MR 14
#define NV 2
#define TILE_NAME "_14x32"
#elif defined(HAI_VECTOR_AVX2)
#define MR 6
#define NV 2
#define TILE_NAME "_6x16"
#elif defined(HAI_VECTOR_NEON)
#define MR 8
#define NV 2
#define TILE_NAME "_8x8"
#else
#define MR 4
#define NV 8
#define TILE_NAME "_4x8"
#endif
#define NR (NV * HAI_LANES)

#define TEXT_INNER(x) #x
#define TEXT(x) TEXT_INNER(x)

#endif

// Matrix products of two integer tensors neither of which is packed when the model is loaded, and what they share with
// matmul's other forms.
#pragma once

#include <memory>

#include "devices/cpu/exec/exec_registry.h"

namespace hai::cpu {

struct MatrixShapes {
  int64_t k = 0, n = 0;
  bool transpose_b = false;
};

// Matrices of `dims` (without its last two axes) before that of product number `index` of `batch`.
inline int64_t matrix_of(const Dims& dims, const Dims& batch, int64_t index) {
  int64_t out = 0;
  int64_t step = 1;
  for (int back = 3; back <= batch.rank; ++back) {
    const int64_t size = batch[batch.rank - back];
    const int64_t own = back <= dims.rank ? dims[dims.rank - back] : 1;
    if (own > 1) out += index % size * step;
    step *= own;
    index /= size;
  }
  return out;
}

// Both operands integers with one scale, neither of them packed when the kernel is made (or b a batch of constants).
// Precondition: the shapes have been checked.
Result<std::unique_ptr<CpuKernel>> make_integer_product(const KernelContext& context, const MatrixShapes& shapes);

}  // namespace hai::cpu

// Kernels that are a look-up table of the stored integer: unary functions, clip and rescale of quantized tensors.
#pragma once

#include <memory>

#include "devices/cpu/exec/exec_registry.h"

namespace hai::cpu {

// y[i] = entry(q) for an operand and a result of i8, u8 or i16 (checked by the caller), through a table of one entry a
// stored integer. `entry` gives the stored integer of the result.
std::unique_ptr<CpuKernel> make_table_kernel(const KernelContext& context,
                                             const std::function<int32_t(int32_t q)>& entry);

}  // namespace hai::cpu

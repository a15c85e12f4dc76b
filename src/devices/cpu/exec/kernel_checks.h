// Checks that CPU kernels make on their operands when they are made; a program may come from a hostile file.
#pragma once

#include <initializer_list>

#include "devices/cpu/exec/exec_registry.h"
#include "types/arithmetic.h"

namespace hai::cpu {

// Exactly so many operands and results, none absent.
Status require_counts(const KernelContext& context, size_t inputs, size_t outputs);
// Between `required` and `at_most` operands, of which the first `required` are there; exactly `outputs` results.
Status require_counts_between(const KernelContext& context, size_t required, size_t at_most, size_t outputs);
Status require_dtype(const KernelContext& context, const format::ProgramTensor& tensor,
                     std::initializer_list<DataType> allowed);
Status require_same_shape(const KernelContext& context, const format::ProgramTensor& a, const format::ProgramTensor& b);

// Scale and zero point of an i8, u8 or i16 tensor with one scale for the whole tensor, checked.
struct Affine {
  float scale = 1.0F;
  int32_t zero_point = 0;
};
Result<Affine> affine_of(const KernelContext& context, const format::ProgramTensor& tensor);
// The same as the range of an output.
Result<hai_output_range> output_range_of(const KernelContext& context, const format::ProgramTensor& tensor);
// An error unless `multiplier` is finite and in [2^-40, 2^8].
Status require_usable(const KernelContext& context, float multiplier);

}  // namespace hai::cpu

// f16 tensors element by element, and their means and maxima: plain loops, shared by the operators' kernels.
#pragma once

#include <cstdint>
#include <memory>

#include "devices/cpu/exec/exec_registry.h"
#include "types/half.h"

namespace hai::cpu {

// y = table[x]. Precondition: operand and result are f16 of one shape.
std::unique_ptr<CpuKernel> make_half_function(std::shared_ptr<const HalfTable> table);

// The largest of the rows x columns pixels at x for each channel; NaN counts as nothing. Strides count elements.
void max_of_halves(const uint16_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                   int64_t channels, uint16_t* y);
// Their sum in f64, in order, divided by `divisor` in f64 and rounded.
void mean_of_halves(const uint16_t* x, int64_t row_stride, int64_t column_stride, int64_t rows, int64_t columns,
                    int64_t channels, int64_t divisor, uint16_t* y);

}  // namespace hai::cpu

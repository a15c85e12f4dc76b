// What kernels that move, pool and reduce ask of their operands when a program is loaded: counts, types, shapes,
// scales.
//
// A program may come from a hostile file, so make() believes nothing: each check answers with an error that names
// kernel and layer (KernelContext::refuse).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "devices/cpu/exec/exec_registry.h"
#include "types/arithmetic.h"
#include "types/shape_rules.h"

namespace hai::cpu {

// As many operands as stated, none of them absent.
Status check_operand_counts(const KernelContext& context, size_t min_inputs, size_t max_inputs, size_t min_outputs,
                            size_t max_outputs);

// The rule gives a shape, and output `index` has it.
Status check_output_shape(const KernelContext& context, size_t index, const Rule<Shape>& wanted);

// Output `index` has element type and quantization of input `input`.
Status check_moved(const KernelContext& context, size_t index, size_t input);

// Bytes of one element; packed nibbles are refused.
Result<int64_t> check_element_bytes(const KernelContext& context, const format::ProgramTensor& tensor);

// i8, u8 or i16 with one scale and one zero point within the type.
Status check_quantized(const KernelContext& context, const format::ProgramTensor& tensor);

// The multiplier, when it is one that the arithmetic allows.
Result<float> check_multiplier(const KernelContext& context, float multiplier);

// How a moved integer tensor changes its scale on the way.
struct Rescale {
  int32_t zero_x = 0;
  float multiplier = 1.0F;
  hai_output_range out{};
};
// Empty when `from` and `to` have the same element type and quantization; else both must be quantized tensors of one
// type.
Result<std::optional<Rescale>> check_rescale(const KernelContext& context, const format::ProgramTensor& from,
                                             const format::ProgramTensor& to);
// Rescales `count` elements of type `dtype` (i8, u8 or i16); x and y may be the same.
void rescale_elements(const Rescale& rescale, DataType dtype, Isa isa, const std::byte* x, std::byte* y, int64_t count);

// Elements whose sum of (q - z) is exact in the accumulator: |q - z| <= 255 in i32, |q - z| < 2^17 in 2^53.
int64_t most_summands(DataType dtype);

// Precondition: check_quantized().
float scale_of(const format::ProgramTensor& tensor);
int32_t zero_point_of(const format::ProgramTensor& tensor);
hai_output_range full_range(const format::ProgramTensor& tensor);

// Smallest and largest value that a dimension takes while the symbols stay within their bounds; an error when that
// passes 2^63.
struct DimBounds {
  int64_t min = 0;
  int64_t max = 0;
};
Result<DimBounds> check_bounds(const KernelContext& context, const Dim& dim);

}  // namespace hai::cpu

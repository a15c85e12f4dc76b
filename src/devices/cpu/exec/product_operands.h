// Reading and checking what conv2d, conv_transpose2d and matmul have in common: element types, constant weights.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/exec/exec_registry.h"

namespace hai::cpu {

struct ProductInputs {
  ProductOperands operands;
  DataType x_dtype = DataType::kF32;
  int32_t x_zero_point = 0;
  ConvolutionWeights weights;    // points into the constant, or into `unpacked`
  std::vector<int8_t> unpacked;  // i4 weights
};

// Checks operand and result counts, x f32 or i8/u8/i16 with one scale, weights constant f32 or i8/i4, or i16 where x
// is. `residual_operand` SIZE_MAX: the kernel takes none.
Result<ProductInputs> read_product_inputs(const KernelContext& context, size_t residual_operand);

// The buffers of a run. `residual_operand` may be absent.
inline Convolution::Buffers product_buffers(const RunContext& context, size_t residual_operand) {
  const bool residual = residual_operand < context.inputs.size();
  return {context.inputs[0].data, residual ? context.inputs[residual_operand].data : nullptr, context.outputs[0].data,
          context.scratch, context.outputs[0].dims[0]};
}

}  // namespace hai::cpu

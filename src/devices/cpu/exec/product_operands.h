// Reading and checking what conv2d, conv_transpose2d and matmul have in common: element types, constant weights.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/exec/exec_registry.h"

namespace hai::cpu {

struct ProductInputs {
  ProductOperands operands;
  DataType x_dtype = DataType::kF32;
  int32_t x_zero_point = 0;
  ConvolutionWeights weights;  // points into the constant, or into what follows
  std::vector<int8_t> i8;      // weights that are not stored as the kernels read them
  std::vector<int16_t> i16;
};

// Checks operand and result counts, x f32 or i8/u8/i16 with one scale, weights constant f32 or of 4 or 8 bits, or i16
// where x is. `residual_operand` SIZE_MAX: the kernel takes none. `channel_axis`: of the weights; `block_axis`: the one
// that may have scales for blocks, -1: none may.
Result<ProductInputs> read_product_inputs(const KernelContext& context, size_t residual_operand, int channel_axis,
                                          int block_axis = -1);

// Integer weights for an f32 x as f32: for kernels without panels. `channels` is the size of the first axis.
std::vector<float> real_weights(const ProductInputs& inputs, int64_t channels, int64_t length);

// The buffers of a run. `residual_operand` may be absent.
inline Convolution::Buffers product_buffers(const RunContext& context, size_t residual_operand) {
  const bool residual = residual_operand < context.inputs.size();
  return {context.inputs[0].data, residual ? context.inputs[residual_operand].data : nullptr, context.outputs[0].data,
          context.scratch, context.outputs[0].dims[0]};
}

// A kernel that runs one product (Convolution, DepthwiseConvolution, WinogradConvolution) and what follows its sums.
template <typename Product>
class ProductKernel final : public CpuKernel {
 public:
  ProductKernel(Product product, ProductEpilogue epilogue)
      : product_(std::move(product)), epilogue_(std::move(epilogue)) {}

  int64_t scratch_bytes(int64_t, int thread_count) const override {
    return product_.scratch_bytes_per_thread() * thread_count;
  }
  int64_t packed_bytes() const override { return product_.packed_bytes() + epilogue_.bytes(); }
  void run(const RunContext& context) const override {
    product_.run(epilogue_, product_buffers(context, 3), context.threads);
  }

 private:
  Product product_;
  ProductEpilogue epilogue_;
};

}  // namespace hai::cpu

// conv2d on the CPU: checks the instruction, packs the weights once, and runs either the implicit matrix product or the
// direct depthwise kernels (groups == C == O).
//
// An integer depthwise layer whose sums might reach 2^24 (a bias of that size; i16 activations: 2^53) takes the
// matrix-product path, which is exact up to 2^31 (2^53).
#include "devices/cpu/exec/convolution_geometry.h"
#include "devices/cpu/exec/depthwise_convolution.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/half_product.h"
#include "devices/cpu/exec/product_operands.h"

namespace hai::cpu {
namespace {

Result<std::unique_ptr<CpuKernel>> make_conv2d(const KernelContext& context) {
  if (is_half_product(context)) {
    HAI_TRY(const std::vector<float> weights, half_weights(context));
    HAI_TRY(const ConvolutionGeometry geometry,
            read_convolution_geometry(context, context.inputs[0]->shape, context.inputs[1]->shape,
                                      context.outputs[0]->shape));
    return make_half_product(context, geometry, weights);
  }
  HAI_TRY(const ProductInputs inputs, read_product_inputs(context, 3, 0));
  HAI_TRY(const ConvolutionGeometry geometry,
          read_convolution_geometry(context, context.inputs[0]->shape, context.inputs[1]->shape,
                                    context.outputs[0]->shape));
  const bool depthwise = geometry.groups == geometry.in_channels && geometry.groups == geometry.out_channels;
  if (depthwise) {
    // A depthwise filter is small: its kernel has it in f32, whatever its integers.
    std::vector<float> real;
    ConvolutionWeights weights = inputs.weights;
    if (weights.scales != nullptr) {
      real = real_weights(inputs, geometry.out_channels, geometry.kernel_rows * geometry.kernel_cols);
      weights = {.f32 = real.data()};
    }
    HAI_TRY(DepthwiseConvolution filter,
            DepthwiseConvolution::make(geometry, weights, inputs.x_dtype, inputs.x_zero_point, context.isa));
    HAI_TRY(ProductEpilogue epilogue, ProductEpilogue::make(context, inputs.operands, filter.channel_positions(),
                                                            filter.padded_channels(), filter.channel_weights(), 0));
    if (!epilogue.integer || filter.is_exact(epilogue)) {
      HAI_TRY_STATUS(filter.take_bias(epilogue));
      return std::unique_ptr<CpuKernel>(
          std::make_unique<ProductKernel<DepthwiseConvolution>>(std::move(filter), std::move(epilogue)));
    }
  }
  HAI_TRY(Convolution product,
          Convolution::make(geometry, inputs.weights, inputs.x_dtype, inputs.x_zero_point, context.isa));
  HAI_TRY(ProductEpilogue epilogue,
          ProductEpilogue::make(context, inputs.operands, product.channel_positions(), product.padded_channels(),
                                product.channel_weights(), product.left_offset()));
  return std::unique_ptr<CpuKernel>(
      std::make_unique<ProductKernel<Convolution>>(std::move(product), std::move(epilogue)));
}

}  // namespace

void register_conv2d_exec(ExecRegistry& registry);
void register_conv2d_exec(ExecRegistry& registry) { registry.add("conv2d", make_conv2d); }

}  // namespace hai::cpu

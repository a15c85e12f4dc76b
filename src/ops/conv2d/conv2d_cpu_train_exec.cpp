// conv2d on the CPU with weights or a bias that are no constants, f32: the instruction conv2d_variable.
// Each run packs the weights; the epilogue is that of conv2d. A constant among them is read in each run as well.
//
// Depthwise filters with an epilogue that is a clamp run directly, all others as matrix products.
#include "devices/cpu/exec/convolution_geometry.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/train/variable_convolution.h"

namespace hai::cpu {
namespace {

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts_between(context, 2, 4, 1));
  HAI_TRY(const ConvolutionGeometry g, read_convolution_geometry(context, context.inputs[0]->shape,
                                                                 context.inputs[1]->shape, context.outputs[0]->shape));
  const int64_t depth = g.in_channels / g.groups;
  const int64_t filter = g.kernel_rows * g.kernel_cols * depth;
  const WeightLayout layout{g.out_channels / g.groups * filter, filter, g.kernel_cols * depth, depth, 1};
  HAI_TRY(VariableConvolution product, VariableConvolution::make(context, 2, 3, layout, forward_phase(g)));
  return std::unique_ptr<CpuKernel>(std::make_unique<VariableConvolutionKernel>(std::move(product)));
}

}  // namespace

void register_conv2d_train_exec(ExecRegistry& registry);
void register_conv2d_train_exec(ExecRegistry& registry) { registry.add("conv2d_variable", make); }

}  // namespace hai::cpu

// conv2d_input_gradient on the CPU, f32: the transpose of conv2d, one convolution of dy for each remainder of rows and
// columns, with conv2d's weights read by columns.
//
// Nothing is added up in memory, and no thread waits for another.
#include "devices/cpu/exec/convolution_geometry.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/train/variable_convolution.h"

namespace hai::cpu {
namespace {

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 1));
  HAI_TRY(const ConvolutionGeometry g, read_convolution_geometry(context, context.outputs[0]->shape,
                                                                 context.inputs[1]->shape, context.inputs[0]->shape));
  const int64_t depth = g.in_channels / g.groups;
  const int64_t filter = g.kernel_rows * g.kernel_cols * depth;
  const WeightLayout layout{g.out_channels / g.groups * filter, 1, g.kernel_cols * depth, depth, filter};
  HAI_TRY(VariableConvolution product,
          VariableConvolution::make(context, SIZE_MAX, SIZE_MAX, layout, transposed_phases(g)));
  return std::unique_ptr<CpuKernel>(std::make_unique<VariableConvolutionKernel>(std::move(product)));
}

}  // namespace

void register_conv2d_input_gradient_train_exec(ExecRegistry& registry);
void register_conv2d_input_gradient_train_exec(ExecRegistry& registry) { registry.add("conv2d_input_gradient", make); }

}  // namespace hai::cpu

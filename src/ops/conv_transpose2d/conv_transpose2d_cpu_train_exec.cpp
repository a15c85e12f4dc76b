// conv_transpose2d on the CPU with weights or a bias that are no constants, f32: the instruction
// conv_transpose2d_variable.
//
// It is the transpose of the conv2d that leads from its output to its input, with weights of its own layout.
#include <algorithm>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/train/variable_convolution.h"

namespace hai::cpu {
namespace {

// The conv2d that this is the transpose of.
Result<ConvolutionGeometry> read_geometry(const KernelContext& context) {
  constexpr int64_t kMaxExtent = 1 << 20;
  HAI_TRY(const auto strides, context.ints_attribute_or("strides", {1, 1}, 1, kMaxExtent));
  HAI_TRY(const auto pads, context.ints_attribute_or("pads", {0, 0, 0, 0}, 0, kMaxExtent));
  HAI_TRY(const auto dilations, context.ints_attribute_or("dilations", {1, 1}, 1, kMaxExtent));
  HAI_TRY(const auto padding, context.ints_attribute_or("output_padding", {0, 0}, 0, kMaxExtent));
  HAI_TRY(const int64_t groups, context.int_attribute("groups", 1, 1, kMaxExtent));
  const Shape& x = context.inputs[0]->shape;
  const Shape& w = context.inputs[1]->shape;
  const Shape& y = context.outputs[0]->shape;
  const bool lists = strides.size() == 2 && pads.size() == 4 && dilations.size() == 2 && padding.size() == 2 &&
                     x.size() == 4 && w.size() == 4 && y.size() == 4;
  if (!lists || !is_static({x.begin() + 1, x.end()}) || !is_static(w))
    return context.refuse("x, weights and y need four dimensions; lists of attributes two entries, pads four");
  const bool sound = std::min({w[0].value, w[1].value, w[2].value, w[3].value, x[1].value, x[2].value}) >= 1 &&
                     w[0].value % groups == 0 && w[3].value <= INT32_MAX && w[3].value * groups == x[3].value &&
                     std::max(w[1].value, w[2].value) <= kMaxExtent && std::max(x[1].value, x[2].value) <= INT32_MAX;
  if (!sound) return context.refuse("weights must be [O, KH, KW, C / groups], O a multiple of groups");
  Shape expected = {x[0], 0, 0, w[0]};
  for (size_t axis = 0; axis < 2; ++axis) {
    expected[axis + 1] = (x[axis + 1].value - 1) * strides[axis] - pads[axis] - pads[axis + 2] +
                         dilations[axis] * (w[axis + 1].value - 1) + padding[axis] + 1;
  }
  if (y != expected || expected[1].value < 1 || expected[2].value < 1)
    return context.refuse("y has another shape than x, weights, strides and pads give");
  ConvolutionGeometry g;
  g.in_rows = expected[1].value;
  g.in_cols = expected[2].value;
  g.in_channels = w[0].value;
  g.out_rows = x[1].value;
  g.out_cols = x[2].value;
  g.out_channels = x[3].value;
  g.kernel_rows = w[1].value;
  g.kernel_cols = w[2].value;
  g.stride_rows = strides[0];
  g.stride_cols = strides[1];
  g.dilation_rows = dilations[0];
  g.dilation_cols = dilations[1];
  g.pad_top = pads[0];
  g.pad_left = pads[1];
  g.groups = groups;
  return g;
}

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts_between(context, 2, 3, 1));
  HAI_TRY(const ConvolutionGeometry g, read_geometry(context));
  const int64_t depth = g.out_channels / g.groups;
  const int64_t filter = g.kernel_rows * g.kernel_cols * depth;
  const WeightLayout layout{g.in_channels / g.groups * filter, filter, g.kernel_cols * depth, depth, 1};
  HAI_TRY(VariableConvolution product, VariableConvolution::make(context, 2, SIZE_MAX, layout, transposed_phases(g)));
  return std::unique_ptr<CpuKernel>(std::make_unique<VariableConvolutionKernel>(std::move(product)));
}

}  // namespace

void register_conv_transpose2d_train_exec(ExecRegistry& registry);
void register_conv_transpose2d_train_exec(ExecRegistry& registry) { registry.add("conv_transpose2d_variable", make); }

}  // namespace hai::cpu

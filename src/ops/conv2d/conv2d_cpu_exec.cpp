// conv2d on the CPU: checks the instruction, packs the weights once, and runs either the implicit matrix product or the
// direct depthwise kernels (groups == C == O).
//
// An integer depthwise layer whose sums might reach 2^24 (a bias of that size; i16 activations: 2^53) takes the
// matrix-product path, which is exact up to 2^31 (2^53).
#include <algorithm>

#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/exec/depthwise_convolution.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/half_product.h"
#include "devices/cpu/exec/product_operands.h"

namespace hai::cpu {
namespace {

Result<ConvolutionGeometry> read_geometry(const KernelContext& context) {
  constexpr int64_t kMaxExtent = 1 << 20;
  HAI_TRY(const auto strides, context.ints_attribute_or("strides", {1, 1}, 1, kMaxExtent));
  HAI_TRY(const auto pads, context.ints_attribute_or("pads", {0, 0, 0, 0}, 0, kMaxExtent));
  HAI_TRY(const auto dilations, context.ints_attribute_or("dilations", {1, 1}, 1, kMaxExtent));
  HAI_TRY(const int64_t groups, context.int_attribute("groups", 1, 1, kMaxExtent));
  const Shape& x = context.inputs[0]->shape;
  const Shape& w = context.inputs[1]->shape;
  const Shape& y = context.outputs[0]->shape;
  const bool ranks = x.size() == 4 && w.size() == 4 && y.size() == 4;
  if (!ranks || strides.size() != 2 || pads.size() != 4 || dilations.size() != 2) {
    return context.refuse("x, weights and y need four dimensions; strides and dilations two entries, pads four");
  }
  if (!is_static({x.begin() + 1, x.end()}) || !is_static({y.begin() + 1, y.end()}) || !is_static(w)) {
    return context.refuse("only the batch may be symbolic");
  }
  ConvolutionGeometry g;
  g.in_rows = x[1].value;
  g.in_cols = x[2].value;
  g.in_channels = x[3].value;
  g.out_channels = w[0].value;
  g.kernel_rows = w[1].value;
  g.kernel_cols = w[2].value;
  g.stride_rows = strides[0];
  g.stride_cols = strides[1];
  g.dilation_rows = dilations[0];
  g.dilation_cols = dilations[1];
  g.pad_top = pads[0];
  g.pad_left = pads[1];
  g.groups = groups;
  const bool sound = std::min({w[0].value, w[1].value, w[2].value, w[3].value}) >= 1 && w[0].value % groups == 0 &&
                     w[3].value <= INT32_MAX && w[3].value * groups == g.in_channels && w[1].value <= kMaxExtent &&
                     w[2].value <= kMaxExtent && g.in_rows <= INT32_MAX && g.in_cols <= INT32_MAX;
  if (!sound) return context.refuse("weights must be [O, KH, KW, C / groups], O a multiple of groups");
  const int64_t room_rows = g.in_rows + pads[0] + pads[2] - (dilations[0] * (w[1].value - 1) + 1);
  const int64_t room_cols = g.in_cols + pads[1] + pads[3] - (dilations[1] * (w[2].value - 1) + 1);
  g.out_rows = g.store_rows = room_rows < 0 ? 0 : room_rows / strides[0] + 1;
  g.out_cols = g.store_cols = room_cols < 0 ? 0 : room_cols / strides[1] + 1;
  const Shape expected = {x[0], g.out_rows, g.out_cols, g.out_channels};
  if (room_rows < 0 || room_cols < 0 || y != expected) {
    return context.refuse("y has another shape than x, weights, strides and pads give");
  }
  return g;
}

Result<std::unique_ptr<CpuKernel>> make_conv2d(const KernelContext& context) {
  if (is_half_product(context)) {
    HAI_TRY(const std::vector<float> weights, half_weights(context));
    HAI_TRY(const ConvolutionGeometry geometry, read_geometry(context));
    return make_half_product(context, geometry, weights);
  }
  HAI_TRY(const ProductInputs inputs, read_product_inputs(context, 3, 0));
  HAI_TRY(const ConvolutionGeometry geometry, read_geometry(context));
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

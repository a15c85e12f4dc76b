// winograd_conv2d on the CPU: checks the instruction, packs the taps once, and runs one product a tap.
//
// The work is WinogradConvolution's. Here: geometry and shifts of an instruction from a file that nobody has checked,
// and the bias, which goes through the output transform's sums and so leaves the epilogue.
#include <algorithm>

#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/half_product.h"
#include "devices/cpu/exec/product_operands.h"
#include "devices/cpu/exec/winograd_convolution.h"

namespace hai::cpu {
namespace {

Result<WinogradGeometry> read_geometry(const KernelContext& context) {
  HAI_TRY(const int64_t tile, context.int_attribute("tile", 0, 2, 4));
  HAI_TRY(const auto pads, context.ints_attribute_or("pads", {0, 0, 0, 0}, 0, 2));
  const Shape& x = context.inputs[0]->shape;
  const Shape& w = context.inputs[1]->shape;
  const Shape& y = context.outputs[0]->shape;
  if (tile == 3 || pads.size() != 4 || x.size() != 4 || w.size() != 4 || y.size() != 4) {
    return context.refuse("tile must be 2 or 4, pads need four entries, x, weights and y four dimensions");
  }
  if (!is_static({x.begin() + 1, x.end()}) || !is_static({y.begin() + 1, y.end()}) || !is_static(w)) {
    return context.refuse("only the batch may be symbolic");
  }
  WinogradGeometry g;
  g.tile = static_cast<int>(tile);
  g.in_rows = x[1].value;
  g.in_cols = x[2].value;
  g.in_channels = x[3].value;
  g.out_channels = w[0].value;
  g.out_rows = g.in_rows + pads[0] + pads[2] - 2;
  g.out_cols = g.in_cols + pads[1] + pads[3] - 2;
  g.pad_top = pads[0];
  g.pad_left = pads[1];
  const bool sound = g.out_channels >= 1 && g.in_channels >= 1 && w[1] == g.side() && w[2] == g.side() &&
                     w[3] == x[3] && g.in_rows >= 0 && g.in_cols >= 0 && g.in_rows <= INT32_MAX &&
                     g.in_cols <= INT32_MAX && g.in_channels <= INT32_MAX;
  if (!sound) return context.refuse("taps must be [O, tile + 2, tile + 2, C]");
  const Shape expected = {x[0], g.out_rows, g.out_cols, g.out_channels};
  if (g.out_rows < 1 || g.out_cols < 1 || y != expected) {
    return context.refuse("y has another shape than x, taps and pads give");
  }
  return g;
}

// The shifts of an integer layer and their base.
Result<int32_t> read_shifts(const KernelContext& context, const WinogradGeometry& geometry, WinogradShifts& shifts) {
  const auto taps = static_cast<size_t>(geometry.taps());
  HAI_TRY(const auto input, context.ints_attribute("input_shifts", taps, 0, HAI_WINOGRAD_MAX_INPUT_SHIFT));
  HAI_TRY(const auto weight,
          context.ints_attribute("weight_shifts", taps, HAI_WINOGRAD_MIN_WEIGHT_SHIFT, HAI_WINOGRAD_MAX_WEIGHT_SHIFT));
  for (size_t t = 0; t < taps; ++t) shifts.input[t] = static_cast<int32_t>(input[t]);
  return hai_winograd_exponents(geometry.taps(), input.data(), weight.data(), shifts.exponents.data());
}

Status check_types(const KernelContext& context, const ProductInputs& inputs) {
  const DataType x = inputs.x_dtype;
  if (context.instruction.attributes.count("rounding") != 0) return context.refuse("takes no other rounding");
  if (x == DataType::kF32) {
    return inputs.weights.scales == nullptr && inputs.weights.f32 != nullptr
               ? Status{}
               : Status(context.refuse("f32 needs taps of f32"));
  }
  const bool fits = (x == DataType::kI8 || x == DataType::kU8) && context.inputs[1]->dtype == DataType::kI8 &&
                    inputs.weights.i8 != nullptr && inputs.i8.empty();
  return fits ? Status{} : Status(context.refuse("x must be f32, f16, i8 or u8, integer taps symmetric i8"));
}

Result<std::unique_ptr<CpuKernel>> make_winograd_conv2d(const KernelContext& context) {
  if (is_half_product(context)) {
    HAI_TRY(const std::vector<float> weights, half_weights(context));
    if (context.instruction.attributes.count("rounding") != 0) return context.refuse("takes no other rounding");
    HAI_TRY(const WinogradGeometry geometry, read_geometry(context));
    return make_half_winograd(context, geometry, weights);
  }
  HAI_TRY(ProductInputs inputs, read_product_inputs(context, 3, 0));
  HAI_TRY_STATUS(check_types(context, inputs));
  HAI_TRY(const WinogradGeometry geometry, read_geometry(context));
  const bool integer = is_integer(inputs.x_dtype);
  WinogradShifts shifts;
  if (integer) {
    HAI_TRY(const int32_t base, read_shifts(context, geometry, shifts));
    inputs.operands.weight_factor = hai_winograd_power(base);
  }
  HAI_TRY(WinogradConvolution product, WinogradConvolution::make(geometry, shifts, inputs.weights, inputs.x_dtype,
                                                                 inputs.x_zero_point, context.isa));
  // Its own proof of sums is take_bias().
  const std::vector<ChannelWeights> none(static_cast<size_t>(geometry.out_channels));
  HAI_TRY(ProductEpilogue epilogue, ProductEpilogue::make(context, inputs.operands, product.channel_positions(),
                                                          product.padded_channels(), none, 0));
  if (integer) {
    HAI_TRY_STATUS(product.take_bias(context, epilogue.bias.data()));
    epilogue.take_bias_out();
  }
  return std::unique_ptr<CpuKernel>(
      std::make_unique<ProductKernel<WinogradConvolution>>(std::move(product), std::move(epilogue)));
}

}  // namespace

void register_winograd_conv2d_exec(ExecRegistry& registry);
void register_winograd_conv2d_exec(ExecRegistry& registry) { registry.add("winograd_conv2d", make_winograd_conv2d); }

}  // namespace hai::cpu

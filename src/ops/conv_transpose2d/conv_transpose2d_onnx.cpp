// ONNX ConvTranspose: weights [C, O / groups, H, W] become [O, H, W, C / groups], between transposes of the tensors.
//
// output_shape and automatic padding become pads and output_padding. Weights are rearranged group by group, which for
// one group is a transpose.
#include <fmt/format.h>

#include <algorithm>

#include "importers/onnx/spatial.h"

namespace hai::onnx_import {
namespace {

Result<ir::ValueId> convert_weights(ImportContext& context, ir::ValueId weights, int64_t groups) {
  Shape shape = context.shape(weights);
  if (shape.size() == 3) shape.insert(shape.begin() + 2, Dim(1));
  if (groups < 1 || shape[0].value % groups != 0) {
    return context.invalid(fmt::format("{} input channels do not divide into {} groups", shape[0].value, groups));
  }
  if (groups == 1) {
    HAI_TRY(const ir::ValueId flat, context.reshape(weights, shape));
    return context.transpose(flat, {1, 2, 3, 0});
  }
  const int64_t inner = shape[0].value / groups;
  HAI_TRY(const ir::ValueId split, context.reshape(weights, {Dim(groups), Dim(inner), shape[1], shape[2], shape[3]}));
  HAI_TRY(const ir::ValueId turned, context.transpose(split, {0, 2, 3, 4, 1}));
  return context.reshape(turned, {Dim(groups * shape[1].value), shape[2], shape[3], Dim(inner)});
}

// pads and output_padding for a wanted output size of one spatial dimension.
void fit_output(Window& window, std::vector<int64_t>& extra, size_t i, int64_t in, int64_t wanted, bool upper) {
  const int64_t reach = (window.kernel[i] - 1) * window.dilations[i] + 1;
  const int64_t total = window.strides[i] * (in - 1) + extra[i] + reach - wanted;
  if (total < 0) extra[i] -= total;
  const int64_t padding = std::max<int64_t>(total, 0);
  window.pads[i] = upper ? padding / 2 : padding - padding / 2;
  window.pads[i + 2] = padding - window.pads[i];
}

Status convert_conv_transpose(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const ir::ValueId weights, context.input(1));
  HAI_TRY(const ir::ValueId bias, context.optional_input(2));
  const Shape weights_shape = context.shape(weights);
  if (weights_shape.size() != context.rank(x) || !is_static(weights_shape) || weights_shape.size() < 3) {
    return context.unsupported("weights and input must have one or two spatial dimensions and weights a fixed shape");
  }
  std::vector<int64_t> kernel;
  for (size_t i = 2; i < weights_shape.size(); ++i) kernel.push_back(weights_shape[i].value);
  HAI_TRY(Window window, read_window(context, x, kernel, false));
  const int64_t groups = context.int_attribute("group", 1);
  std::vector<int64_t> extra = context.ints_attribute("output_padding", std::vector<int64_t>(window.spatial_rank, 0));
  std::vector<int64_t> wanted = context.ints_attribute("output_shape");
  if (wanted.size() == window.spatial_rank + 2) wanted.erase(wanted.begin(), wanted.begin() + 2);
  if (extra.size() != window.spatial_rank || (!wanted.empty() && wanted.size() != window.spatial_rank)) {
    return context.invalid("output_padding or output_shape does not fit the number of spatial dimensions");
  }
  if (window.spatial_rank == 1) {
    extra.insert(extra.begin(), 0);
    if (!wanted.empty()) wanted.insert(wanted.begin(), 1);
  }
  constexpr int64_t kMaxSide = int64_t{1} << 31;
  const std::string automatic = context.string_attribute("auto_pad", "NOTSET");
  const bool same = automatic == "SAME_UPPER" || automatic == "SAME_LOWER";
  HAI_TRY(const ir::ValueId pictures, to_pictures(context, x));
  for (size_t i = 0; (same || !wanted.empty()) && i < 2; ++i) {
    const Dim in = context.shape(pictures)[i + 1];
    if (in.is_symbolic() || in.value > kMaxSide || extra[i] < 0 || extra[i] > kMaxSide) {
      return context.unsupported("output_shape and auto_pad need spatial dimensions that are numbers below 2^31");
    }
    const int64_t size = wanted.empty() ? in.value * window.strides[i] : wanted[i];
    if (size < 1 || size > kMaxSide) return context.invalid("output_shape must be from 1 to 2^31");
    fit_output(window, extra, i, in.value, size, automatic == "SAME_UPPER");
  }
  HAI_TRY(const ir::ValueId core_weights, convert_weights(context, weights, groups));
  std::vector<ir::ValueId> operands = {pictures, core_weights};
  if (bias != ir::kNone) operands.push_back(bias);
  HAI_TRY(const ir::ValueId y, context.emit("conv_transpose2d", std::move(operands),
                                            {{"strides", window.strides},
                                             {"pads", window.pads},
                                             {"dilations", window.dilations},
                                             {"groups", groups},
                                             {"output_padding", extra}}));
  HAI_TRY(const ir::ValueId out, from_pictures(context, y, window.spatial_rank));
  return context.set_output(0, out);
}

}  // namespace

void register_conv_transpose2d_onnx(ImportRegistry& registry);
void register_conv_transpose2d_onnx(ImportRegistry& registry) { registry.add("ConvTranspose", convert_conv_transpose); }

}  // namespace hai::onnx_import

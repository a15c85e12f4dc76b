// ONNX Conv: NCHW with OIHW weights becomes conv2d, NHWC with OHWI weights, between transposes.
//
// One spatial dimension is a picture of height 1. Weights are transposed here when they are constant, also behind
// DequantizeLinear, whose integers are kept.
#include <fmt/format.h>

#include "importers/onnx/spatial.h"

namespace hai::onnx_import {
namespace {

// [O, I, L] or [O, I, H, W] -> [O, H, W, I]
Result<ir::ValueId> convert_weights(ImportContext& context, ir::ValueId weights) {
  const Shape shape = context.shape(weights);
  if (shape.size() == 3) {
    HAI_TRY(weights, context.reshape(weights, {shape[0], shape[1], Dim(1), shape[2]}));
  }
  return context.transpose(weights, {0, 2, 3, 1});
}

Status convert_conv(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const ir::ValueId weights, context.input(1));
  HAI_TRY(const ir::ValueId bias, context.optional_input(2));
  const Shape weights_shape = context.shape(weights);
  if (weights_shape.size() != context.rank(x) || !is_static(weights_shape) || weights_shape.size() < 3) {
    return context.unsupported(
        fmt::format("weights of {} dimensions for an input of {}; one or two spatial dimensions are "
                    "supported",
                    weights_shape.size(), context.rank(x)));
  }
  std::vector<int64_t> kernel;
  for (size_t i = 2; i < weights_shape.size(); ++i) kernel.push_back(weights_shape[i].value);
  HAI_TRY(const Window window, read_window(context, x, kernel, true));
  HAI_TRY(const ir::ValueId pictures, to_pictures(context, x));
  HAI_TRY(const ir::ValueId core_weights, convert_weights(context, weights));
  std::vector<ir::ValueId> operands = {pictures, core_weights};
  if (bias != ir::kNone) operands.push_back(bias);
  HAI_TRY(const ir::ValueId y, context.emit("conv2d", std::move(operands),
                                            {{"strides", window.strides},
                                             {"pads", window.pads},
                                             {"dilations", window.dilations},
                                             {"groups", context.int_attribute("group", 1)}}));
  HAI_TRY(const ir::ValueId out, from_pictures(context, y, window.spatial_rank));
  return context.set_output(0, out);
}

}  // namespace

void register_conv2d_onnx(ImportRegistry& registry);
void register_conv2d_onnx(ImportRegistry& registry) { registry.add("Conv", convert_conv); }

}  // namespace hai::onnx_import

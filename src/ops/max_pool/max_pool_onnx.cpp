// ONNX MaxPool over one or two spatial dimensions.
//
// NCHW between transposes; automatic padding becomes numbers. The output of indices is refused.
#include "importers/onnx/spatial.h"

namespace hai::onnx_import {
namespace {

Status convert_max_pool(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  if (context.output_used(1)) return context.unsupported("its output \"Indices\" is not supported");
  HAI_TRY(const Window window, read_window(context, x, {}, true));
  HAI_TRY(const ir::ValueId pictures, to_pictures(context, x));
  HAI_TRY(const ir::ValueId y, context.emit("max_pool", {pictures},
                                            {{"kernel", window.kernel},
                                             {"strides", window.strides},
                                             {"pads", window.pads},
                                             {"dilations", window.dilations},
                                             {"ceil_mode", context.int_attribute("ceil_mode", 0)}}));
  HAI_TRY(const ir::ValueId out, from_pictures(context, y, window.spatial_rank));
  return context.set_output(0, out);
}

}  // namespace

void register_max_pool_onnx(ImportRegistry& registry);
void register_max_pool_onnx(ImportRegistry& registry) { registry.add("MaxPool", convert_max_pool); }

}  // namespace hai::onnx_import

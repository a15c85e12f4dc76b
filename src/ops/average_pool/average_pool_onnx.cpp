// ONNX AveragePool over one or two spatial dimensions.
//
// NCHW between transposes; automatic padding becomes numbers. Dilated windows are refused: the core has none.
#include <algorithm>

#include "importers/onnx/spatial.h"

namespace hai::onnx_import {
namespace {

Status convert_average_pool(ImportContext& context) {
  HAI_TRY(const ir::ValueId x, context.input(0));
  HAI_TRY(const Window window, read_window(context, x, {}, true));
  if (std::any_of(window.dilations.begin(), window.dilations.end(), [](int64_t step) { return step != 1; })) {
    return context.unsupported("dilations other than 1 are not supported");
  }
  HAI_TRY(const ir::ValueId pictures, to_pictures(context, x));
  HAI_TRY(const ir::ValueId y, context.emit("average_pool", {pictures},
                                            {{"kernel", window.kernel},
                                             {"strides", window.strides},
                                             {"pads", window.pads},
                                             {"ceil_mode", context.int_attribute("ceil_mode", 0)},
                                             {"count_include_pad", context.int_attribute("count_include_pad", 0)}}));
  HAI_TRY(const ir::ValueId out, from_pictures(context, y, window.spatial_rank));
  return context.set_output(0, out);
}

}  // namespace

void register_average_pool_onnx(ImportRegistry& registry);
void register_average_pool_onnx(ImportRegistry& registry) { registry.add("AveragePool", convert_average_pool); }

}  // namespace hai::onnx_import

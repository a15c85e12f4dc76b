// What convolutions and pools share when they are imported: windows, automatic padding, one spatial dimension as two.
#pragma once

#include "importers/onnx/import_registry.h"

namespace hai::onnx_import {

// Over height and width; an operator over one spatial dimension has height 1.
struct Window {
  std::vector<int64_t> kernel;     // [2]
  std::vector<int64_t> strides;    // [2]
  std::vector<int64_t> dilations;  // [2]
  std::vector<int64_t> pads;       // top, left, bottom, right
  size_t spatial_rank = 2;         // in the model: 1 or 2
};

// Reads kernel_shape (or takes `kernel`), strides, dilations, pads and auto_pad for the input x [N, C, spatial...].
// Transposed convolutions work out auto_pad themselves: `automatic_pads` false leaves pads 0 for SAME.
Result<Window> read_window(ImportContext& context, ir::ValueId x, std::vector<int64_t> kernel, bool automatic_pads);

// [N, C, L] or [N, C, H, W] -> [N, H, W, C], and back.
Result<ir::ValueId> to_pictures(ImportContext& context, ir::ValueId x);
Result<ir::ValueId> from_pictures(ImportContext& context, ir::ValueId y, size_t spatial_rank);

}  // namespace hai::onnx_import

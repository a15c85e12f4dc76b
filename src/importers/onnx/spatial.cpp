// Windows of convolutions and pools (see spatial.h).
//
// Method: everything is normalised to two spatial dimensions; SAME_UPPER and SAME_LOWER become numbers, for which the
// spatial dimensions must be numbers. It checks counts and signs; what fits the input is the operator's inference.
#include "importers/onnx/spatial.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"

namespace hai::onnx_import {
namespace {

constexpr int64_t kMaxParameter = int64_t{1} << 24;

Status check_range(ImportContext& context, std::string_view what, const std::vector<int64_t>& values, size_t count,
                   int64_t low) {
  const bool good = values.size() == count && std::all_of(values.begin(), values.end(), [&](int64_t value) {
                      return value >= low && value <= kMaxParameter;
                    });
  if (good) return {};
  return context.invalid(
      fmt::format("attribute \"{}\" must have {} numbers from {} to {}", what, count, low, kMaxParameter));
}

void insert_unit_height(Window& window) {
  window.kernel.insert(window.kernel.begin(), 1);
  window.strides.insert(window.strides.begin(), 1);
  window.dilations.insert(window.dilations.begin(), 1);
  window.pads = {0, window.pads[0], 0, window.pads[1]};
}

}  // namespace

Result<Window> read_window(ImportContext& context, ir::ValueId x, std::vector<int64_t> kernel, bool automatic_pads) {
  const Shape shape = context.shape(x);
  if (shape.size() < 3 || shape.size() > 4) {
    return context.unsupported(
        fmt::format("its input has {} dimensions; one or two spatial dimensions (3 or 4 in all) are "
                    "supported",
                    shape.size()));
  }
  Window window;
  window.spatial_rank = shape.size() - 2;
  const size_t n = window.spatial_rank;
  const std::vector<int64_t> ones(n, 1);
  window.kernel = context.ints_attribute("kernel_shape", kernel);
  if (!kernel.empty() && window.kernel != kernel)
    return context.invalid("kernel_shape differs from the weights' shape");
  window.strides = context.ints_attribute("strides", ones);
  window.dilations = context.ints_attribute("dilations", ones);
  window.pads = context.ints_attribute("pads", std::vector<int64_t>(2 * n, 0));
  HAI_TRY_STATUS(check_range(context, "kernel_shape", window.kernel, n, 1));
  HAI_TRY_STATUS(check_range(context, "strides", window.strides, n, 1));
  HAI_TRY_STATUS(check_range(context, "dilations", window.dilations, n, 1));
  const std::string automatic = context.string_attribute("auto_pad", "NOTSET");
  if (automatic == "VALID") {
    window.pads.assign(2 * n, 0);
  } else if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
    window.pads.assign(2 * n, 0);
    for (size_t i = 0; automatic_pads && i < n; ++i) {
      const Dim& dim = shape[i + 2];
      if (dim.is_symbolic()) return context.unsupported("auto_pad needs spatial dimensions that are numbers");
      const int64_t reach = (window.kernel[i] - 1) * window.dilations[i] + 1;
      const int64_t out = dim.value / window.strides[i] + (dim.value % window.strides[i] != 0 ? 1 : 0);
      const int64_t total = std::max<int64_t>(0, (out - 1) * window.strides[i] + reach - dim.value);
      const int64_t small = total / 2;
      window.pads[i] = automatic == "SAME_UPPER" ? small : total - small;
      window.pads[i + n] = total - window.pads[i];
    }
  } else if (automatic != "NOTSET") {
    return context.invalid(fmt::format("auto_pad \"{}\" is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER", automatic));
  }
  HAI_TRY_STATUS(check_range(context, "pads", window.pads, 2 * n, 0));
  if (n == 1) insert_unit_height(window);
  return window;
}

Result<ir::ValueId> to_pictures(ImportContext& context, ir::ValueId x) {
  const Shape shape = context.shape(x);
  if (shape.size() == 3) {
    HAI_TRY(x, context.reshape(x, {shape[0], shape[1], Dim(1), shape[2]}));
  }
  return context.channels_last(x);
}

Result<ir::ValueId> from_pictures(ImportContext& context, ir::ValueId y, size_t spatial_rank) {
  HAI_TRY(const ir::ValueId out, context.channels_first(y));
  if (spatial_rank == 2) return out;
  const Shape shape = context.shape(out);
  return context.reshape(out, {shape[0], shape[1], shape[3]});
}

}  // namespace hai::onnx_import

// Reading strides, pads, dilations and groups, and checking the three shapes against them.
//
// A program may come from anyone: nothing is believed.
#include "devices/cpu/exec/convolution_geometry.h"

#include <algorithm>

namespace hai::cpu {

Result<ConvolutionGeometry> read_convolution_geometry(const KernelContext& context, const Shape& x, const Shape& w,
                                                      const Shape& y) {
  constexpr int64_t kMaxExtent = 1 << 20;
  HAI_TRY(const auto strides, context.ints_attribute_or("strides", {1, 1}, 1, kMaxExtent));
  HAI_TRY(const auto pads, context.ints_attribute_or("pads", {0, 0, 0, 0}, 0, kMaxExtent));
  HAI_TRY(const auto dilations, context.ints_attribute_or("dilations", {1, 1}, 1, kMaxExtent));
  HAI_TRY(const int64_t groups, context.int_attribute("groups", 1, 1, kMaxExtent));
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

}  // namespace hai::cpu

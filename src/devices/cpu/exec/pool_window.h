// The window of a pool instruction, read from its attributes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/result.h"
#include "devices/cpu/exec/exec_registry.h"
#include "types/shape_rules.h"

namespace hai::cpu {

// The attributes kernel, strides, pads, ceil_mode, count_include_pad and, when `with_dilations`, dilations.
inline Result<PoolWindow> pool_window(const KernelContext& context, bool with_dilations) {
  PoolWindow window;
  constexpr int64_t kMax = int64_t{1} << 24;
  HAI_TRY(const std::vector<int64_t> kernel, context.ints_attribute("kernel", 2, 1, kMax));
  HAI_TRY(const std::vector<int64_t> strides, context.ints_attribute_or("strides", {1, 1}, 1, kMax));
  HAI_TRY(const std::vector<int64_t> pads, context.ints_attribute_or("pads", {0, 0, 0, 0}, 0, INT64_MAX));
  HAI_TRY(const std::vector<int64_t> dilations, context.ints_attribute_or("dilations", {1, 1}, 1, kMax));
  HAI_TRY(const int64_t ceil_mode, context.int_attribute("ceil_mode", 0, 0, 1));
  HAI_TRY(const int64_t count_padding, context.int_attribute("count_include_pad", 0, 0, 1));
  if (strides.size() != 2 || pads.size() != 4 || dilations.size() != 2) {
    return context.refuse("it needs two strides, four pads and two dilations");
  }
  if (!with_dilations && (dilations[0] != 1 || dilations[1] != 1)) return context.refuse("it knows no dilation");
  std::copy(kernel.begin(), kernel.end(), window.kernel.begin());
  std::copy(strides.begin(), strides.end(), window.strides.begin());
  std::copy(pads.begin(), pads.end(), window.pads.begin());
  std::copy(dilations.begin(), dilations.end(), window.dilations.begin());
  window.ceil_mode = ceil_mode != 0;
  window.count_padding = count_padding != 0;
  return window;
}

}  // namespace hai::cpu

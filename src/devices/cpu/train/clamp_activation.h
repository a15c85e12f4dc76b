// The activations of batch_norm_train and its gradient, as the bounds of a clamp.
//
// Without an activation the bounds are infinite and let everything through.
#pragma once

#include <limits>

#include "devices/cpu/exec/exec_registry.h"

namespace hai::cpu {

struct ClampBounds {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

inline Result<ClampBounds> clamp_activation(const KernelContext& context) {
  HAI_TRY(const std::string name, context.string_attribute("activation", "none"));
  ClampBounds out;
  if (name == "none") return out;
  if (name != "relu" && name != "relu6") return context.refuse("its activation must be none, relu or relu6");
  out.low = 0.0F;
  if (name == "relu6") out.high = 6.0F;
  return out;
}

}  // namespace hai::cpu

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

Result<ClampBounds> clamp_activation(const KernelContext& context);

}  // namespace hai::cpu

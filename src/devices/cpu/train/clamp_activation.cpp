// Reading the attribute `activation` of batch_norm_train and its gradient.
//
// A program may come from anyone: other words are refused.
#include "devices/cpu/train/clamp_activation.h"

namespace hai::cpu {

Result<ClampBounds> clamp_activation(const KernelContext& context) {
  const Result<std::string> given = context.string_attribute("activation", "none");
  if (!given) return given.error();
  const std::string& name = *given;
  ClampBounds out;
  if (name == "none") return out;
  if (name != "relu" && name != "relu6") return context.refuse("its activation must be none, relu or relu6");
  out.low = 0.0F;
  if (name == "relu6") out.high = 6.0F;
  return out;
}

}  // namespace hai::cpu

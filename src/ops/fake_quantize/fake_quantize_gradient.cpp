// The gradient of fake_quantize goes straight through (Bengio et al. 2013), but for what the grid does not hold.
//
// Rounding is flat almost everywhere; its gradient is taken as 1, so that weights move although a step alone changes no
// integer. Ranges get none: they follow from what is quantized.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  HAI_TRY(const ir::ValueId dx,
          context.append("fake_quantize_gradient", {context.dy(), context.input(0), context.input(1), context.input(2)},
                         context.node().attributes));
  return std::vector<ir::ValueId>{dx, ir::kNone, ir::kNone};
}

}  // namespace

void register_fake_quantize_gradient(GradientRegistry& registry);
void register_fake_quantize_gradient(GradientRegistry& registry) { registry.add("fake_quantize", rule); }

}  // namespace hai::ops

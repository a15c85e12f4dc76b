// The gradient of softmax: dx = y (dy - sum(dy y)) along the axis.
// It needs y alone, so x is not kept.
// The sum runs in the type of the tensor.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  HAI_TRY(const ir::ValueId product, context.mul(context.dy(), context.output()));
  HAI_TRY(const ir::ValueId sum, context.sum_along(product, {context.node().int_attribute("axis", -1)}));
  HAI_TRY(const ir::ValueId difference, context.sub(context.dy(), sum));
  HAI_TRY(const ir::ValueId dx, context.mul(context.output(), difference));
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_softmax_gradient(GradientRegistry& registry);
void register_softmax_gradient(GradientRegistry& registry) { registry.add("softmax", rule); }

}  // namespace hai::ops

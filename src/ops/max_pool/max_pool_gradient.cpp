// Gradient of max_pool: max_pool_gradient with the same attributes, which looks for the largest elements again.
//
// Keeping x and not where they stood: x is the output of the layer before and is mostly kept anyway.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  HAI_TRY(const ir::ValueId dx,
          context.append("max_pool_gradient", {context.input(0), context.dy()}, context.node().attributes));
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_max_pool_gradient(GradientRegistry& registry);
void register_max_pool_gradient(GradientRegistry& registry) { registry.add("max_pool", rule); }

}  // namespace hai::ops

// The gradient of expand: dx is the sum of dy over the copies that were made of each element.
// The operand that only lends its first dimension gets none.
// A free batch along which a constant was repeated is summed over like any other axis.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  HAI_TRY(const ir::ValueId dx, context.sum_to_input(context.dy(), 0));
  return std::vector<ir::ValueId>{dx, ir::kNone};
}

}  // namespace

void register_expand_gradient(GradientRegistry& registry);
void register_expand_gradient(GradientRegistry& registry) { registry.add("expand", rule); }

}  // namespace hai::ops

// The gradient of reshape: dx has the elements of dy in the shape of x.
// No element moves, so it is a view like reshape itself.
// A shape with one symbolic dimension is written with -1; two are refused.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  HAI_TRY(const ir::ValueId dx, context.reshape(context.dy(), context.shape(context.input(0))));
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_reshape_gradient(GradientRegistry& registry);
void register_reshape_gradient(GradientRegistry& registry) { registry.add("reshape", rule); }

}  // namespace hai::ops

// Gradient of average_pool: average_pool_gradient with the same attributes and the size of x.
//
// `rounding` is about integers, which have no gradient.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  const Shape& x = context.shape(context.input(0));
  if (x[1].is_symbolic() || x[2].is_symbolic()) return context.refuse("height and width must be numbers");
  ir::Attributes attributes = context.node().attributes;
  attributes.erase("rounding");
  attributes["size"] = std::vector<int64_t>{x[1].value, x[2].value};
  HAI_TRY(const ir::ValueId dx, context.append("average_pool_gradient", {context.dy()}, std::move(attributes)));
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_average_pool_gradient(GradientRegistry& registry);
void register_average_pool_gradient(GradientRegistry& registry) { registry.add("average_pool", rule); }

}  // namespace hai::ops

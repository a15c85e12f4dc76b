// Gradient of gather: gather_gradient adds dy's slices where they came from. Indices have none.
//
// The axis must be a number, since its size is no part of dy; or the free batch where indices hang on it, too.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  const Shape& x = context.shape(context.input(0));
  int64_t axis = context.node().int_attribute("axis", 0);
  if (axis < 0) axis += static_cast<int64_t>(x.size());
  const Dim size = x[static_cast<size_t>(axis)];
  const Shape& indices = context.shape(context.input(1));
  if (size.is_symbolic() && (axis != 0 || indices.empty() || indices[0].symbol != size.symbol))
    return context.refuse("the axis must be a number; bind its symbol");
  ir::Attributes attributes = {{"axis", axis}, {"size", size.value}};
  if (size.is_symbolic()) attributes["per_sample"] = int64_t{1};
  HAI_TRY(const ir::ValueId dx,
          context.append("gather_gradient", {context.input(1), context.dy()}, std::move(attributes)));
  return std::vector<ir::ValueId>{dx, ir::kNone};
}

}  // namespace

void register_gather_gradient(GradientRegistry& registry);
void register_gather_gradient(GradientRegistry& registry) { registry.add("gather", rule); }

}  // namespace hai::ops

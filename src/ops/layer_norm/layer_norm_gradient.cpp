// With x^ = (x - mean) r, r = 1 / sqrt(variance + epsilon), g = dy scale:
//   dx = r (g - mean(g) - x^ mean(g x^)), dscale = sum(dy x^), dbias = sum(dy).
// Mean and r are computed again from x, which is kept anyway.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

using ir::ValueId;

Result<std::vector<ValueId>> rule(GradientContext& context) {
  const ValueId x = context.input(0);
  const ValueId dy = context.dy();
  if (context.type(context.input(1)).dtype != context.type(x).dtype)
    return context.refuse("its scale has another element type than x");
  HAI_TRY(const ValueId mean, context.mean_along(x, {-1}));
  HAI_TRY(const ValueId centred, context.sub(x, mean));
  HAI_TRY(const ValueId squares, context.append("square", {centred}));
  HAI_TRY(const ValueId variance, context.mean_along(squares, {-1}));
  HAI_TRY(const ValueId shifted,
          context.add(variance, context.scalar(context.node().float_attribute("epsilon", 1e-5), x)));
  HAI_TRY(const ValueId deviation, context.append("sqrt", {shifted}));
  HAI_TRY(const ValueId inverse, context.append("reciprocal", {deviation}));
  HAI_TRY(const ValueId normal, context.mul(centred, inverse));
  std::vector<ValueId> out(3, ir::kNone);
  if (context.wants(0)) {
    HAI_TRY(const ValueId g, context.mul(dy, context.input(1)));
    HAI_TRY(const ValueId mean_g, context.mean_along(g, {-1}));
    HAI_TRY(const ValueId product, context.mul(g, normal));
    HAI_TRY(const ValueId correlation, context.mean_along(product, {-1}));
    HAI_TRY(const ValueId along, context.mul(normal, correlation));
    HAI_TRY(const ValueId without_mean, context.sub(g, mean_g));
    HAI_TRY(const ValueId rest, context.sub(without_mean, along));
    HAI_TRY(out[0], context.mul(rest, inverse));
  }
  if (context.wants(1)) {
    HAI_TRY(const ValueId product, context.mul(dy, normal));
    HAI_TRY(out[1], context.sum_to_input(product, 1));
  }
  if (context.wants(2)) {
    HAI_TRY(out[2], context.sum_to_input(dy, 2));
  }
  return out;
}

}  // namespace

void register_layer_norm_gradient(GradientRegistry& registry);
void register_layer_norm_gradient(GradientRegistry& registry) { registry.add("layer_norm", rule); }

}  // namespace hai::ops

// Gradients of batch_norm, whose statistics are given (the frozen mode): y = (x - mean) r scale + bias with
// r = 1 / sqrt(variance + epsilon). r is computed again, a few numbers a channel.
// The statistics themselves have gradients too: they are operands like the others.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

using ir::ValueId;

Result<std::vector<ValueId>> rule(GradientContext& context) {
  const ValueId variance = context.input(4);
  const ValueId dy = context.dy();
  HAI_TRY(const ValueId shifted,
          context.add(variance, context.scalar(context.node().float_attribute("epsilon", 1e-5), variance)));
  HAI_TRY(const ValueId deviation, context.append("sqrt", {shifted}));
  HAI_TRY(const ValueId inverse, context.append("reciprocal", {deviation}));
  HAI_TRY(const ValueId slope, context.mul(context.input(1), inverse));
  std::vector<ValueId> out(5, ir::kNone);
  if (context.wants(0)) {
    HAI_TRY(out[0], context.mul(dy, slope));
  }
  ValueId sum = ir::kNone;          // of dy
  ValueId correlation = ir::kNone;  // of dy (x - mean)
  if (context.wants(2) || context.wants(3)) {
    HAI_TRY(sum, context.sum_to_input(dy, 1));
  }
  if (context.wants(1) || context.wants(4)) {
    HAI_TRY(const ValueId centred, context.sub(context.input(0), context.input(3)));
    HAI_TRY(const ValueId product, context.mul(dy, centred));
    HAI_TRY(correlation, context.sum_to_input(product, 1));
  }
  if (context.wants(1)) {
    HAI_TRY(out[1], context.mul(correlation, inverse));
  }
  out[2] = sum;
  if (context.wants(3)) {
    HAI_TRY(const ValueId product, context.mul(sum, slope));
    HAI_TRY(out[3], context.append("neg", {product}));
  }
  if (context.wants(4)) {  // dr / dvariance = -r^3 / 2
    HAI_TRY(const ValueId product, context.mul(correlation, slope));
    HAI_TRY(const ValueId quotient, context.div(product, shifted));
    HAI_TRY(out[4], context.scale(quotient, -0.5));
  }
  return out;
}

}  // namespace

void register_batch_norm_gradient(GradientRegistry& registry);
void register_batch_norm_gradient(GradientRegistry& registry) { registry.add("batch_norm", rule); }

}  // namespace hai::ops

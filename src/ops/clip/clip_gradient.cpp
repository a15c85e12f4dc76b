// The gradient of clip: dx = dy where min <= x <= max, else 0.
// The bounds count as inside, as PyTorch's clamp has it. It subtracts what lies outside, bound by bound, so that an
// absent bound costs nothing.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  const ir::ValueId x = context.input(0);
  ir::ValueId dx = context.dy();
  for (const char* bound : {"min", "max"}) {
    if (!context.node().has_attribute(bound)) continue;
    const ir::ValueId limit = context.scalar(context.node().float_attribute(bound, 0.0), x);
    const bool is_min = bound[1] == 'i';
    HAI_TRY(const ir::ValueId outside, is_min ? context.sub(limit, x) : context.sub(x, limit));
    HAI_TRY(const ir::ValueId lost, context.where_positive(outside, dx));
    HAI_TRY(dx, context.sub(dx, lost));
  }
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_clip_gradient(GradientRegistry& registry);
void register_clip_gradient(GradientRegistry& registry) { registry.add("clip", rule); }

}  // namespace hai::ops

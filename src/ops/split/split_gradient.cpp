// The gradient of split: dx joins the gradients of the parts.
// A part on which the loss does not depend gives zeros of its shape.
// The order is that of the parts, so nothing has to be moved twice.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  std::vector<ir::ValueId> parts;
  for (size_t i = 0; i < context.node().outputs.size(); ++i) {
    ir::ValueId part = context.dy(i);
    if (part == ir::kNone) {
      HAI_TRY(part, context.zeros_like(context.output(i)));
    }
    parts.push_back(part);
  }
  HAI_TRY(const ir::ValueId dx,
          context.append("concat", std::move(parts), {{"axis", context.node().int_attribute("axis", 0)}}));
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_split_gradient(GradientRegistry& registry);
void register_split_gradient(GradientRegistry& registry) { registry.add("split", rule); }

}  // namespace hai::ops

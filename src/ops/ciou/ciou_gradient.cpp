// Gradient of ciou: an operator of its own, since its derivative by a box shares everything with its value.
//
// ciou is symmetric, so the gradient by the second box is that by the first with both exchanged.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  std::vector<ir::ValueId> out(3, ir::kNone);
  const ir::ValueId a = context.input(0);
  const ir::ValueId b = context.input(1);
  if (context.wants(0) || context.wants(2)) {
    HAI_TRY(const std::vector<ir::ValueId> parts,
            context.append_all("ciou_gradient", {a, b, context.input(2), context.dy()}));
    out[0] = parts[0];
    out[2] = parts[1];
  }
  if (context.wants(1)) {
    HAI_TRY(const std::vector<ir::ValueId> parts,
            context.append_all("ciou_gradient", {b, a, context.input(2), context.dy()}));
    out[1] = parts[0];
  }
  return out;
}

}  // namespace

void register_ciou_gradient(GradientRegistry& registry);
void register_ciou_gradient(GradientRegistry& registry) { registry.add("ciou", rule); }

}  // namespace hai::ops

// Gradient of anchor_assignment: none. What it gives are targets, numbers to whoever differentiates.
//
// Objectness and alpha depend on predictions; published training holds them fixed, and so is it here.
#include "ops/gradient.h"

namespace hai::ops {

void register_anchor_assignment_gradient(GradientRegistry& registry);
void register_anchor_assignment_gradient(GradientRegistry& registry) { registry.add_flat("anchor_assignment"); }

}  // namespace hai::ops

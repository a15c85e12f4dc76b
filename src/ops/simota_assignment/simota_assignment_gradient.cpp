// Gradient of simota_assignment: none. What it gives are targets, numbers to whoever differentiates.
//
// Costs and overlaps depend on predictions; published training holds them fixed, and so is it here.
#include "ops/gradient.h"

namespace hai::ops {

void register_simota_assignment_gradient(GradientRegistry& registry);
void register_simota_assignment_gradient(GradientRegistry& registry) { registry.add_flat("simota_assignment"); }

}  // namespace hai::ops

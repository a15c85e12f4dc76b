// Gradient of batch_norm_train: that of x, scale and bias through y, by batch_norm_train_gradient.
//
// The statistics are results for the next steps and for inference: a loss that depends on them is refused, as running
// statistics are buffers elsewhere, too.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  for (size_t i = 1; i < 5; ++i) {
    if (context.dy(i) != ir::kNone) return context.refuse("the loss depends on the statistics; only y has a gradient");
  }
  ir::Attributes attributes = context.node().attributes;
  attributes.erase("momentum");
  HAI_TRY(std::vector<ir::ValueId> out, context.append_all("batch_norm_train_gradient",
                                                           {context.input(0), context.dy(), context.input(1),
                                                            context.input(2), context.output(1), context.output(2)},
                                                           std::move(attributes)));
  out.resize(5, ir::kNone);
  return out;
}

}  // namespace

void register_batch_norm_train_gradient(GradientRegistry& registry);
void register_batch_norm_train_gradient(GradientRegistry& registry) { registry.add("batch_norm_train", rule); }

}  // namespace hai::ops

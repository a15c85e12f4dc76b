// The gradient of transpose: dx is dy under the inverse permutation.
// Chains of the two cancel in the passes that follow (cancel_transposes).
// Any rank, any symbolic axis.
#include "ops/gradient.h"

namespace hai::ops {
namespace {

Result<std::vector<ir::ValueId>> rule(GradientContext& context) {
  const std::vector<int64_t> permutation = context.node().ints_attribute("permutation");
  std::vector<int64_t> inverse(permutation.size());
  for (size_t i = 0; i < permutation.size(); ++i)
    inverse[static_cast<size_t>(permutation[i])] = static_cast<int64_t>(i);
  HAI_TRY(const ir::ValueId dx, context.transpose(context.dy(), std::move(inverse)));
  return std::vector<ir::ValueId>{dx};
}

}  // namespace

void register_transpose_gradient(GradientRegistry& registry);
void register_transpose_gradient(GradientRegistry& registry) { registry.add("transpose", rule); }

}  // namespace hai::ops

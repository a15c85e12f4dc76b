// reshape on the NPU: another view of the same elements, or of a copy where no strides say it.
//
// The batch axis stays: it is not among the sizes.
#include "devices/sd3403/lower/half.h"

namespace hai::sd3403 {
namespace {

Legality legality() { return {{.rules = {takes(0, Types::kElements), takes(kEveryResult, Types::kElements)}}}; }

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const std::vector<int64_t> dims = sample_dims(builder.graph(), node.outputs[0]);
  std::optional<View> view = reshaped(builder.view(node.inputs[0]), dims);
  if (!view) view = reshaped(builder.dense(node.inputs[0]), dims);
  builder.set_view(node.outputs[0], *view);
  return {};
}

}  // namespace

void register_reshape_lower(LowerRegistry& registry);
void register_reshape_lower(LowerRegistry& registry) { registry.add("reshape", {legality(), lower, true}); }

}  // namespace hai::sd3403

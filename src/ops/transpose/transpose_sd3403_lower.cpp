// transpose on the NPU: a view with its axes in another order; who reads it copies it if it must.
//
// The batch axis stays first.
#include "devices/sd3403/lower/half.h"

namespace hai::sd3403 {
namespace {

Status check_batch(const ir::Graph&, const ir::Node& node) {
  const std::vector<int64_t> order = node.ints_attribute("permutation");
  return order.empty() || order[0] != 0 ? refuse(node, "the batch axis moves") : Status();
}

Legality legality() {
  return {{.rules = {takes(0, Types::kElements), takes(kEveryResult, Types::kElements),
                     checked("the batch in its place", check_batch)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const View from = builder.view(node.inputs[0]);
  View to{from.buffer, from.offset, {}, {}};
  for (const int64_t axis : node.ints_attribute("permutation")) {
    if (axis == 0) continue;
    to.dims.push_back(from.dims[static_cast<size_t>(axis - 1)]);
    to.strides.push_back(from.strides[static_cast<size_t>(axis - 1)]);
  }
  builder.set_view(node.outputs[0], std::move(to));
  return {};
}

}  // namespace

void register_transpose_lower(LowerRegistry& registry);
void register_transpose_lower(LowerRegistry& registry) { registry.add("transpose", {legality(), lower, true}); }

}  // namespace hai::sd3403

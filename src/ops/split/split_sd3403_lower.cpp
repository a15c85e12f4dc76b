// split on the NPU: views of its operand.
//
// The batch is not split.
#include "devices/sd3403/lower/half.h"

namespace hai::sd3403 {
namespace {

Legality legality() {
  return {{.rules = {takes(0, Types::kElements), takes(kEveryResult, Types::kElements), inner_axes("axis", 0)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const View whole = builder.view(node.inputs[0]);
  const int64_t given = node.int_attribute("axis", 0);
  const auto axis = static_cast<size_t>((given < 0 ? given + static_cast<int64_t>(whole.dims.size()) + 1 : given) - 1);
  int64_t first = 0;
  for (const ir::ValueId output : node.outputs) {
    View part{whole.buffer, whole.offset + first * whole.strides[axis], sample_dims(builder.graph(), output),
              whole.strides};
    first += part.dims[axis];
    builder.set_view(output, std::move(part));
  }
  return {};
}

}  // namespace

void register_split_lower(LowerRegistry& registry);
void register_split_lower(LowerRegistry& registry) { registry.add("split", {legality(), lower, true}); }

}  // namespace hai::sd3403

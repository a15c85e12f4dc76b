// slice on the NPU: a view that starts later and takes longer steps.
//
// Steps backwards, and slices of the batch, stay on the CPU.
#include <algorithm>

#include "devices/sd3403/lower/half.h"

namespace hai::sd3403 {
namespace {

Legality legality() {
  return {{.rules = {takes(0, Types::kElements), takes(kEveryResult, Types::kElements), inner_axes("axes", 0),
                     attribute_between("steps", 1)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  View view = builder.view(node.inputs[0]);
  const auto rank = static_cast<int64_t>(view.dims.size()) + 1;
  const std::vector<int64_t> axes = node.ints_attribute("axes");
  const std::vector<int64_t> starts = node.ints_attribute("starts");
  const std::vector<int64_t> steps = node.ints_attribute("steps", std::vector<int64_t>(axes.size(), 1));
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>((axes[i] < 0 ? axes[i] + rank : axes[i]) - 1);
    const int64_t size = view.dims[axis];
    const int64_t start = std::clamp<int64_t>(starts[i] < 0 ? starts[i] + size : starts[i], 0, size - 1);
    view.offset += start * view.strides[axis];
    view.strides[axis] *= steps[i];
  }
  view.dims = sample_dims(builder.graph(), node.outputs[0]);
  builder.set_view(node.outputs[0], std::move(view));
  return {};
}

}  // namespace

void register_slice_lower(LowerRegistry& registry);
void register_slice_lower(LowerRegistry& registry) { registry.add("slice", {legality(), lower, true}); }

}  // namespace hai::sd3403

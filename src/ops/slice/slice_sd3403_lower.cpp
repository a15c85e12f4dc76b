// slice on the NPU: a view that starts later and takes longer steps.
//
// Steps backwards, and slices of the batch, stay on the CPU.
#include <algorithm>

#include "devices/sd3403/lower/half.h"

namespace hai::sd3403 {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(require_elements(graph, node, node.inputs[0]));
  for (const ir::ValueId value : node.outputs) HAI_TRY_STATUS(require_elements(graph, node, value));
  const auto rank = static_cast<int64_t>(graph.value(node.inputs[0]).type.shape.size());
  const std::vector<int64_t> axes = node.ints_attribute("axes");
  const std::vector<int64_t> steps = node.ints_attribute("steps", std::vector<int64_t>(axes.size(), 1));
  for (size_t i = 0; i < axes.size(); ++i) {
    if ((axes[i] < 0 ? axes[i] + rank : axes[i]) == 0 || steps[i] < 1)
      return refuse(node, "steps backwards, or the batch");
  }
  return {};
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
void register_slice_lower(LowerRegistry& registry) { registry.add("slice", {supports, lower, true}); }

}  // namespace hai::sd3403

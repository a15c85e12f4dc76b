// reduce_mean over height and width on the NPU: a Pool whose window is the picture.
//
// Other axes and the other reductions stay on the CPU.
#include <algorithm>

#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/pool.h"
#include "devices/sd3403/lower/segment_builder.h"

namespace hai::sd3403 {
namespace {

// The window, or none where other axes are reduced.
std::optional<PoolWindow> picture_window(const ir::Graph& graph, const ir::Node& node) {
  const Shape& shape = graph.value(node.inputs[0]).type.shape;
  std::vector<int64_t> axes = node.ints_attribute("axes");
  for (int64_t& axis : axes) axis += axis < 0 ? static_cast<int64_t>(shape.size()) : 0;
  std::sort(axes.begin(), axes.end());
  if (shape.size() != 4 || axes != std::vector<int64_t>{1, 2}) return std::nullopt;
  PoolWindow window;
  window.kernel = {shape[1].value, shape[2].value};
  return window;
}

Status check_axes(const ir::Graph& graph, const ir::Node& node) {
  return picture_window(graph, node) ? Status() : refuse(node, "axes other than height and width");
}

Legality legality() {
  return {
      {.rules = {takes(0, Types::kElements), takes(kResult, Types::kElements), attribute_is("rounding", "half_even"),
                 checked("the axes of a picture's rows and columns", check_axes), size(0, 1, kMostWindow),
                 size(0, 2, kMostWindow)}}};
}

Status lower(SegmentBuilder& builder) {
  const PoolWindow window = *picture_window(builder.graph(), builder.node());
  const int64_t count = window.kernel[0] * window.kernel[1];
  Pool pool;
  pool.pooling = kAverage;
  add_pool(builder, pool, window, {count, count});
  return {};
}

}  // namespace

void register_reduce_lower(LowerRegistry& registry);
void register_reduce_lower(LowerRegistry& registry) { registry.add("reduce_mean", {legality(), lower}); }

}  // namespace hai::sd3403

// average_pool on the NPU: Pool with a multiplier for each count of elements that occurs.
//
// Windows that reach past the padding (ceil_mode) while they count it stay on the CPU, whose divisor is a third one.
#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/pool.h"
#include "devices/sd3403/lower/segment_builder.h"

namespace hai::sd3403 {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(require_elements(graph, node, node.inputs[0]));
  HAI_TRY_STATUS(require_elements(graph, node, node.outputs[0]));
  if (node.string_attribute("rounding", "half_even") != "half_even")
    return refuse(node, "rounding as TensorFlow Lite does");
  auto window = ops::pool_window_of(node);
  if (window && window->ceil_mode && window->count_padding) return refuse(node, "ceil_mode with counted padding");
  return supports_pool(graph, node, window);
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  HAI_TRY(const PoolWindow window, ops::pool_window_of(node));
  const Shape& x = builder.type(node.inputs[0]).shape;
  const Shape& y = builder.type(node.outputs[0]).shape;
  DivisorBounds all;
  for (size_t axis = 0; axis < 2; ++axis) {
    const DivisorBounds bounds = pool_divisor_bounds(window, axis, x[axis + 1].value, y[axis + 1].value);
    all.least *= bounds.least;
    all.largest *= bounds.largest;
  }
  Pool pool;
  pool.pooling = kAverage;
  pool.counts_padding = window.count_padding ? 1 : 0;
  add_pool(builder, pool, window, all);
  return {};
}

}  // namespace

void register_average_pool_lower(LowerRegistry& registry);
void register_average_pool_lower(LowerRegistry& registry) { registry.add("average_pool", {supports, lower}); }

}  // namespace hai::sd3403

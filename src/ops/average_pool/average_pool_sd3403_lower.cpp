// average_pool on the NPU: Pool with a multiplier for each count of elements that occurs.
//
// Windows that reach past the padding (ceil_mode) while they count it stay on the CPU, whose divisor is a third one.
#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/pool.h"
#include "devices/sd3403/lower/segment_builder.h"

namespace hai::sd3403 {
namespace {

Status check_padding(const ir::Graph&, const ir::Node& node) {
  HAI_TRY(const PoolWindow window, ops::pool_window_of(node));
  return window.ceil_mode && window.count_padding ? refuse(node, "ceil_mode with counted padding") : Status();
}

Legality legality() {
  return {{.rules = join(
               {{takes(0, Types::kElements), takes(kResult, Types::kElements), attribute_is("rounding", "half_even"),
                 checked("no counted padding together with ceil_mode", check_padding)},
                pool_rules()})}};
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
void register_average_pool_lower(LowerRegistry& registry) { registry.add("average_pool", {legality(), lower}); }

}  // namespace hai::sd3403

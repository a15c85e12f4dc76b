// max_pool on the NPU: Pool, with the rescaling of a result of another scale.
//
// Rescaling is monotone, so the rescaled largest is the largest of the rescaled. Windows with gaps stay on the CPU.
#include <bit>

#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/pool.h"
#include "devices/sd3403/lower/segment_builder.h"
#include "types/arithmetic.h"

namespace hai::sd3403 {
namespace {

Legality legality() {
  return {{.rules = join({{takes(0, Types::kElements), takes(kResult, Types::kElements)},
                          pool_rules(),
                          {attribute_between("dilations", 1, 1)}})}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  HAI_TRY(const PoolWindow window, ops::pool_window_of(node));
  const ir::TensorType& x = builder.type(node.inputs[0]);
  const ir::TensorType& y = builder.type(node.outputs[0]);
  Pool pool;
  pool.pooling = kMaximum;
  if (x.quantization != y.quantization) {
    pool.multiplier = std::bit_cast<uint32_t>(hai_multiplier_ratio(scale_of(x), scale_of(y)));
  }
  add_pool(builder, pool, window, {});
  return {};
}

}  // namespace

void register_max_pool_lower(LowerRegistry& registry);
void register_max_pool_lower(LowerRegistry& registry) { registry.add("max_pool", {legality(), lower}); }

}  // namespace hai::sd3403

// quantize of f16 on the NPU: Combine, where a layer of integers follows layers of f16.
//
// f32 tensors are the CPU's: they come from outside.
#include <bit>

#include "devices/sd3403/lower/chain.h"
#include "devices/sd3403/lower/half.h"

namespace hai::sd3403 {
namespace {

Legality legality() { return {{.rules = {takes(0, Types::kHalves), takes(kResult, Types::kIntegers)}}}; }

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const ir::TensorType& y = builder.type(node.outputs[0]);
  const Slice from = builder.operand(node.inputs[0]);
  const Slice to = builder.result(node.outputs[0]);
  Combine c;
  c.arithmetic = kRescale;
  c.left_multiplier = std::bit_cast<uint32_t>(scale_of(y));
  c.zero_point = zero_point_of(y);
  c.least = integer_min(y.dtype);
  c.greatest = integer_max(y.dtype);
  add_combine(builder, from, to, c);
  return {};
}

}  // namespace

void register_quantize_lower(LowerRegistry& registry);
void register_quantize_lower(LowerRegistry& registry) { registry.add("quantize", {legality(), lower}); }

}  // namespace hai::sd3403

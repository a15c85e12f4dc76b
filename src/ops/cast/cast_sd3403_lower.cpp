// cast between f16 and f32 on the NPU: Combine, where a network of f16 begins and ends.
//
// One rounding to f16, none to f32 (docs/reference/arithmetic.md). Integers without a scale stay on the CPU.
#include "devices/sd3403/lower/chain.h"
#include "devices/sd3403/lower/half.h"

namespace hai::sd3403 {
namespace {

Status check_direction(const ir::Graph& graph, const ir::Node& node) {
  if (is_half(graph.value(node.inputs[0]).type) == is_half(graph.value(node.outputs[0]).type))
    return refuse(node, "one type to itself");
  if (graph.value(node.inputs[0]).producer == ir::kNone && is_half(graph.value(node.outputs[0]).type))
    return refuse(node, "f32 from outside, of twice the bytes: it becomes f16 where integers are made of it");
  return {};
}

Legality legality() {
  return {{.rules = {takes(0, Types::kReals), takes(kResult, Types::kReals),
                     checked("f16 to f32, or f32 that other operators made to f16", check_direction)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const Slice from = builder.operand(node.inputs[0]);
  const Slice to = builder.result(node.outputs[0]);
  Combine c;
  c.arithmetic = kRescale;
  add_combine(builder, from, to, c);
  return {};
}

}  // namespace

void register_cast_lower(LowerRegistry& registry);
void register_cast_lower(LowerRegistry& registry) { registry.add("cast", {legality(), lower}); }

}  // namespace hai::sd3403

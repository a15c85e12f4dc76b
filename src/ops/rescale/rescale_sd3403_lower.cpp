// rescale on the NPU: Combine with one operand; where the tensor comes from 8 bits by functions alone, a table of it.
//
// A chain of look-ups is one look-up (lower/chain.h): every rounding of the chain is in the table.
#include "devices/sd3403/lower/chain.h"

namespace hai::sd3403 {
namespace {

Legality legality() { return {{.rules = {takes(0, Types::kIntegers), takes(kResult, Types::kIntegers)}}}; }

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  if (lower_chain(builder)) return {};
  add_rescale(builder, builder.operand(node.inputs[0]), builder.type(node.inputs[0]), builder.result(node.outputs[0]),
              builder.type(node.outputs[0]));
  return {};
}

}  // namespace

void register_rescale_lower(LowerRegistry& registry);
void register_rescale_lower(LowerRegistry& registry) { registry.add("rescale", {legality(), lower}); }

}  // namespace hai::sd3403

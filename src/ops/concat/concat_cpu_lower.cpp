// concat on the CPU: one instruction as it stands.
//
// Elements of any type are copied; where scales differ the kernel rescales, which it can for i8, u8 and i16.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

// Where scales differ the kernel rescales, which it can for these types.
Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(supports_whole_bytes(graph, node));
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  for (const ir::ValueId id : node.inputs) {
    if (graph.value(id).type.quantization == y.quantization || ops::contains(ops::kQuantizedTypes, y.dtype)) continue;
    return make_error(StatusCode::kUnsupported, "C035", "{} of {} with differing scales is not supported on cpu",
                      node.op, data_type_name(y.dtype));
  }
  return {};
}

}  // namespace

void register_concat_lower(LowerRegistry& registry);
void register_concat_lower(LowerRegistry& registry) { registry.add("concat", {supports, lower_as_is}); }

}  // namespace hai::cpu

// pad on the CPU: one instruction as it stands.
//
// Elements of any type are copied; a border in units of a scale, and another scale, are for i8, u8 and i16.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

// Where scales differ the kernel rescales, and a border in units of a scale is stored, which it can for i8, u8 and i16.
Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(supports_whole_bytes(graph, node));
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  if (!y.quantization || ops::contains(ops::kQuantizedTypes, y.dtype)) return {};
  return make_error(StatusCode::kUnsupported, "C036", "{} of quantized {} is not supported on cpu; it takes {}",
                    node.op, data_type_name(y.dtype), ops::describe(ops::kQuantizedTypes));
}

}  // namespace

void register_pad_lower(LowerRegistry& registry);
void register_pad_lower(LowerRegistry& registry) { registry.add("pad", {supports, lower_as_is}); }

}  // namespace hai::cpu

// pad on the CPU: one instruction as it stands.
//
// Elements of any type are copied; a border in units of a scale, and another scale, are for 8 bits only.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

// Where scales differ the kernel rescales, and a border in units of a scale is stored, which it can for 8 bits.
Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(supports_whole_bytes(graph, node));
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  if (!y.quantization || bit_width(y.dtype) == 8) return {};
  return make_error(StatusCode::kUnsupported, "C036", "{} of quantized {} is not supported on cpu; it takes i8 and u8",
                    node.op, data_type_name(y.dtype));
}

}  // namespace

void register_pad_lower(LowerRegistry& registry);
void register_pad_lower(LowerRegistry& registry) { registry.add("pad", {supports, lower_as_is}); }

}  // namespace hai::cpu

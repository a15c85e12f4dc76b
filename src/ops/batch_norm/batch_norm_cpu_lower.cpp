// batch_norm on the CPU: f32 with constant parameters. One instruction as it is.
//
// Parameters that are computed at run time are refused by name: the factors are made once, when the kernel is made.
#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(supports_elementwise(graph, node, ops::set_of({DataType::kF32})));
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (!graph.value(node.inputs[i]).is_constant()) {
      return make_error(StatusCode::kUnsupported, "C037", "batch_norm on cpu needs constant parameters; \"{}\" is not",
                        graph.value(node.inputs[i]).name);
    }
  }
  return {};
}

}  // namespace

void register_batch_norm_lower(LowerRegistry& registry);
void register_batch_norm_lower(LowerRegistry& registry) { registry.add("batch_norm", {supports, lower_as_is}); }

}  // namespace hai::cpu

// batch_norm on the CPU: f32. One instruction; where a parameter is no constant, as in training, one that makes its
// factors in each run.
//
// Other float types have the reference only.
#include <algorithm>

#include "devices/cpu/lower/supports.h"

namespace hai::cpu {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  return supports_elementwise(graph, node, ops::set_of({DataType::kF32}));
}

Status lower(LowerContext& context) {
  const ir::Node& node = context.node();
  const bool constant = std::all_of(node.inputs.begin() + 1, node.inputs.end(),
                                    [&](ir::ValueId input) { return context.graph().value(input).is_constant(); });
  if (constant) return lower_as_is(context);
  std::vector<uint32_t> inputs;
  for (const ir::ValueId input : node.inputs) inputs.push_back(context.tensor(input));
  context.emit("batch_norm_variable", std::move(inputs), {context.tensor(node.outputs[0])}, node.attributes);
  return {};
}

}  // namespace

void register_batch_norm_lower(LowerRegistry& registry);
void register_batch_norm_lower(LowerRegistry& registry) { registry.add("batch_norm", {supports, lower}); }

}  // namespace hai::cpu

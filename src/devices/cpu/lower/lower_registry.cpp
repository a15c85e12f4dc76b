// The table of the CPU device's lowerings, and the lowering that most operators use.
//
// Kernel names of the CPU device are the operators' names, and an instruction's attributes are the operator's
// attributes, so most operators become one instruction as they are. Registration comes from the generated table, once;
// a name registered twice is a bug of ours. It decides nothing about memory: see lower.cpp.
#include "devices/cpu/lower/lower_registry.h"

#include <utility>

namespace hai::cpu {

void LowerRegistry::add(std::string op, CpuLowering lowering) {
  HAI_CHECK(lowering.supports != nullptr && lowering.lower != nullptr);
  const bool added = lowerings_.emplace(std::move(op), lowering).second;
  HAI_CHECK(added);
}

const CpuLowering* LowerRegistry::find(std::string_view op) const {
  const auto it = lowerings_.find(op);
  return it == lowerings_.end() ? nullptr : &it->second;
}

const LowerRegistry& LowerRegistry::instance() {
  static const LowerRegistry kRegistry = [] {
    LowerRegistry registry;
    register_all_lower(registry);
    return registry;
  }();
  return kRegistry;
}

Status lower_as_is(LowerContext& context) {
  const ir::Node& node = context.node();
  std::vector<uint32_t> inputs;
  std::vector<uint32_t> outputs;
  inputs.reserve(node.inputs.size());
  outputs.reserve(node.outputs.size());
  for (const ir::ValueId input : node.inputs) inputs.push_back(context.tensor(input));
  for (const ir::ValueId output : node.outputs) outputs.push_back(context.tensor(output));
  context.emit(node.op, std::move(inputs), std::move(outputs), node.attributes);
  return {};
}

}  // namespace hai::cpu

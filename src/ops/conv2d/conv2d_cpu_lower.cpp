// conv2d on the CPU: f32, i8 or u8 with i8 or i4 weights, and i16 with i16, i8 or i4 weights.
//
// One instruction as it is; exec chooses between matrix product and depthwise kernels, and packs the weights. Where
// weights or bias of an f32 conv2d are no constants, as in training, it is conv2d_variable, which packs them in each
// run. Float types other than f32 and f16 have the reference only.
#include "devices/cpu/lower/lower_registry.h"
#include "devices/cpu/lower/product_supports.h"

namespace hai::cpu {
namespace {

bool varies(const ir::Graph& graph, const ir::Node& node) {
  for (const size_t i : {size_t{1}, size_t{2}}) {
    if (i < node.inputs.size() && node.inputs[i] != ir::kNone && !graph.value(node.inputs[i]).is_constant())
      return true;
  }
  return false;
}

bool all_f32(const ir::Graph& graph, const ir::Node& node) {
  return graph.value(node.inputs[0]).type.dtype == DataType::kF32 &&
         graph.value(node.inputs[1]).type.dtype == DataType::kF32;
}

Status supports(const ir::Graph& graph, const ir::Node& node) {
  if (varies(graph, node) && all_f32(graph, node)) return {};
  return supports_product(graph, node, 0);
}

Status lower(LowerContext& context) {
  const ir::Node& node = context.node();
  if (!varies(context.graph(), node)) return lower_as_is(context);
  std::vector<uint32_t> inputs;
  for (const ir::ValueId input : node.inputs) inputs.push_back(context.tensor(input));
  context.emit("conv2d_variable", std::move(inputs), {context.tensor(node.outputs[0])}, node.attributes);
  return {};
}

}  // namespace

void register_conv2d_lower(LowerRegistry& registry);
void register_conv2d_lower(LowerRegistry& registry) { registry.add("conv2d", {supports, lower}); }

}  // namespace hai::cpu

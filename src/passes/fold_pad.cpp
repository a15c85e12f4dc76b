// Gives zero padding before a convolution to the convolution.
//
// Pattern: pad(x, constant 0 on the two spatial axes only) -> conv2d, the pad read by that convolution alone. The pads
// are added. Integer tensors qualify when pad keeps its input's quantization: it then writes the zero point, which is
// what a convolution takes for its own padding. Reflection, other values and other axes stay.
#include "ops/build.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

// [top, left, bottom, right], or empty when the node pads anything else.
std::vector<int64_t> spatial_zero_pads(const ir::Graph& graph, const ir::Node& pad) {
  const auto pads = pad.ints_attribute("pads");
  if (pads.size() != 8 || pad.string_attribute("mode", "constant") != "constant") return {};
  if (pad.float_attribute("value", 0.0) != 0.0) return {};
  if (pads[0] != 0 || pads[3] != 0 || pads[4] != 0 || pads[7] != 0) return {};
  for (const int64_t p : pads) {
    if (p < 0) return {};
  }
  const ir::TensorType& in = graph.value(pad.inputs[0]).type;
  const ir::TensorType& out = graph.value(pad.outputs[0]).type;
  if (in.dtype != out.dtype || in.quantization != out.quantization) return {};
  return {pads[1], pads[2], pads[5], pads[6]};
}

}  // namespace

Result<PassStats> fold_pad(ir::Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    if (!graph.node(id).alive || graph.node(id).op != "conv2d") continue;
    const ir::Node* pad = producer_if(graph, graph.node(id).inputs[0], "pad");
    if (pad == nullptr || sole_reader(graph, pad->outputs[0]) != id) continue;
    const auto extra = spatial_zero_pads(graph, *pad);
    if (extra.empty()) continue;
    auto pads = graph.node(id).ints_attribute("pads", {0, 0, 0, 0});
    for (size_t i = 0; i < 4; ++i) pads[i] += extra[i];
    graph.set_input(id, 0, pad->inputs[0]);
    graph.node(id).attributes["pads"] = std::move(pads);
    ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes

// Gives zero padding before a convolution to the convolution.
//
// Pattern: pad(x, constant 0 on the two spatial axes only) -> conv2d, the pad read by that convolution alone; or with a
// transpose between them, as at the input of a channels-first network. The pads are added. Integer tensors qualify when
// pad keeps its input's quantization: it then writes the zero point, which is what a convolution takes for its own
// padding. Reflection, other values and other axes stay.
#include "ops/build.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

namespace hai::passes {
namespace {

// [top, left, bottom, right] in the layout of the convolution, or empty when the node pads anything else.
// `permutation`: of the transpose behind the pad, empty for none.
std::vector<int64_t> spatial_zero_pads(const ir::Graph& graph, const ir::Node& pad,
                                       const std::vector<int64_t>& permutation) {
  const auto pads = pad.ints_attribute("pads");
  if (pads.size() != 8 || pad.string_attribute("mode", "constant") != "constant") return {};
  if (pad.float_attribute("value", 0.0) != 0.0) return {};
  const ir::TensorType& in = graph.value(pad.inputs[0]).type;
  const ir::TensorType& out = graph.value(pad.outputs[0]).type;
  if (in.dtype != out.dtype || in.quantization != out.quantization) return {};
  std::vector<int64_t> seen(8);
  for (size_t axis = 0; axis < 4; ++axis) {
    const size_t source = permutation.empty() ? axis : static_cast<size_t>(permutation[axis]);
    seen[axis] = pads[source];
    seen[axis + 4] = pads[source + 4];
    if (seen[axis] < 0 || seen[axis + 4] < 0) return {};
  }
  if (seen[0] != 0 || seen[3] != 0 || seen[4] != 0 || seen[7] != 0) return {};
  return {seen[1], seen[2], seen[5], seen[6]};
}

// The pad in front of convolution `id`, read by nothing else, and the transpose between them, if any.
struct Padding {
  const ir::Node* pad = nullptr;
  ir::NodeId transpose = ir::kNone;
  std::vector<int64_t> permutation;
};

Padding find_padding(const ir::Graph& graph, ir::NodeId id) {
  Padding found;
  ir::ValueId value = graph.node(id).inputs[0];
  ir::NodeId reader = id;
  if (const ir::Node* transpose = producer_if(graph, value, "transpose")) {
    if (sole_reader(graph, value) != reader) return found;
    found.transpose = reader = graph.value(value).producer;
    found.permutation = transpose->ints_attribute("permutation");
    value = transpose->inputs[0];
  }
  const ir::Node* pad = producer_if(graph, value, "pad");
  if (pad != nullptr && sole_reader(graph, value) == reader) found.pad = pad;
  return found;
}

}  // namespace

Result<PassStats> fold_pad(ir::Graph& graph) {
  PassStats stats;
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    if (!graph.node(id).alive || graph.node(id).op != "conv2d") continue;
    const Padding found = find_padding(graph, id);
    if (found.pad == nullptr) continue;
    const auto extra = spatial_zero_pads(graph, *found.pad, found.permutation);
    if (extra.empty()) continue;
    auto pads = graph.node(id).ints_attribute("pads", {0, 0, 0, 0});
    for (size_t i = 0; i < 4; ++i) pads[i] += extra[i];
    const ir::ValueId source = found.pad->inputs[0];
    if (found.transpose == ir::kNone) {
      graph.set_input(id, 0, source);
    } else {
      HAI_TRY(const ir::ValueId moved,
              ops::append_value(graph, "transpose", {source}, {{"permutation", found.permutation}}));
      graph.set_input(id, 0, moved);
    }
    graph.node(id).attributes["pads"] = std::move(pads);
    ++stats.changes;
  }
  graph.erase_dead();
  return stats;
}

}  // namespace hai::passes

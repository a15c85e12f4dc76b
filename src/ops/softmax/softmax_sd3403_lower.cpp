// softmax over the last axis of 8-bit tensors on the NPU.
//
// Another axis stays on the CPU: exponentials are summed over the channels of a pixel.
#include <bit>
#include <span>

#include "devices/sd3403/lower/segment_builder.h"
#include "types/arithmetic.h"
#include "types/exact_math.h"

namespace hai::sd3403 {
namespace {

Status supports(const ir::Graph& graph, const ir::Node& node) {
  for (const ir::ValueId value : {node.inputs[0], node.outputs[0]}) {
    HAI_TRY_STATUS(require_integers(graph, node, value));
    if (bit_width(graph.value(value).type.dtype) != 8) return refuse(node, "a tensor of 16 bits");
  }
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  const auto rank = static_cast<int64_t>(y.shape.size());
  const int64_t axis = node.int_attribute("axis", -1);
  if (rank < 2 || (axis < 0 ? axis + rank : axis) != rank - 1) return refuse(node, "an axis that is not the last");
  if (hai_multiplier_usable(scale_of(y)) == 0) return refuse(node, "a result of a scale outside of [2^-40, 2^8]");
  return {};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const ir::TensorType& y = builder.type(node.outputs[0]);
  Layer layer;
  Slice in = builder.operand(node.inputs[0]);
  layer.writes = builder.result(node.outputs[0]);
  builder.even_rows(node.inputs[0], in, node.outputs[0], layer.writes);
  layer.reads = {{in, {}}};
  Softmax c;
  c.columns = layer.writes.columns;
  c.channels = layer.writes.channels;
  c.scale = std::bit_cast<uint32_t>(scale_of(y));
  c.zero_point = zero_point_of(y);
  c.least = integer_min(y.dtype);
  c.greatest = integer_max(y.dtype);
  layer.body = c;
  for (int32_t distance = 0; distance < 256; ++distance) {
    const int32_t entry = hai_softmax_table_entry(distance, scale_of(builder.type(node.inputs[0])));
    const auto bytes = std::as_bytes(std::span(&entry, 1));
    layer.constants.parameters.insert(layer.constants.parameters.end(), bytes.begin(), bytes.end());
  }
  layer.by_channels = false;
  builder.add(std::move(layer));
  return {};
}

}  // namespace

void register_softmax_lower(LowerRegistry& registry);
void register_softmax_lower(LowerRegistry& registry) { registry.add("softmax", {supports, lower}); }

}  // namespace hai::sd3403

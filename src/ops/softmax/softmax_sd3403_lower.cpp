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

Status check_scale(const ir::Graph& graph, const ir::Node& node) {
  if (hai_multiplier_usable(scale_of(graph.value(node.outputs[0]).type)) != 0) return {};
  return refuse(node, "a result of a scale outside of [2^-40, 2^8]");
}

Legality legality() {
  return {{.rules = {takes(0, Types::kBytes), takes(kResult, Types::kBytes), rank(kResult, 2, kMaxRank),
                     last_axis("axis"), checked("a result of a scale within [2^-40, 2^8]", check_scale)}}};
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
void register_softmax_lower(LowerRegistry& registry) { registry.add("softmax", {legality(), lower}); }

}  // namespace hai::sd3403

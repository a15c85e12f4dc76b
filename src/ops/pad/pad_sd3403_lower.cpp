// pad with a constant on the NPU: the border is filled, the inside moved.
//
// The constant is a real number, stored as the result's integer. Mirrored and repeated borders, and results of another
// scale, stay on the CPU.
#include <algorithm>

#include "devices/sd3403/lower/half.h"
#include "types/arithmetic.h"
#include "types/float_format.h"

namespace hai::sd3403 {
namespace {

Status check_scale(const ir::Graph& graph, const ir::Node& node) {
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  if (x.dtype == y.dtype && x.quantization == y.quantization) return {};
  return refuse(node, "a result of another scale");
}

Status check_batch(const ir::Graph& graph, const ir::Node& node) {
  const std::vector<int64_t> pads = node.ints_attribute("pads");
  const size_t dimensions = graph.value(node.inputs[0]).type.shape.size();
  return pads[0] != 0 || pads[dimensions] != 0 ? refuse(node, "it pads the batch") : Status();
}

Legality legality() {
  return {{.rules = {takes(0, Types::kElements), takes(kResult, Types::kElements), attribute_is("mode", "constant"),
                     checked("a result of the scale of `x`", check_scale), rank(0, 1, 4), attribute_between("pads", 0),
                     checked("no pads of the batch", check_batch)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const ir::TensorType& y = builder.type(node.outputs[0]);
  const std::vector<int64_t> pads = node.ints_attribute("pads");
  const hai_output_range range{zero_point_of(y), static_cast<int32_t>(integer_min(y.dtype)),
                               static_cast<int32_t>(integer_max(y.dtype))};
  const double value = node.float_attribute("value", 0.0) / static_cast<double>(scale_of(y));
  const int64_t element = *element_of(y.dtype);
  const View from = builder.view(node.inputs[0]);
  const Slice all = builder.result(node.outputs[0]);
  const View whole = builder.view(node.outputs[0]);
  Copy fill;
  fill.fills = 1;
  fill.fill_value = is_half(y) ? hai_f64_to_f16(value) : hai_store_f64(value, range);
  fill.output_channel_stride = all.channel_stride;
  fill.columns = all.columns;
  fill.channels = all.channels;
  Layer layer;
  layer.body = fill;
  layer.writes = all;
  builder.add(std::move(layer));
  View inside{whole.buffer, whole.offset, from.dims, whole.strides};
  for (size_t i = 0; i < from.dims.size(); ++i) inside.offset += pads[i + 1] * whole.strides[i];
  builder.copy(from, inside, element);
  return {};
}

}  // namespace

void register_pad_lower(LowerRegistry& registry);
void register_pad_lower(LowerRegistry& registry) { registry.add("pad", {legality(), lower}); }

}  // namespace hai::sd3403

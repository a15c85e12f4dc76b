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

Status supports(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(require_elements(graph, node, node.inputs[0]));
  HAI_TRY_STATUS(require_elements(graph, node, node.outputs[0]));
  if (node.string_attribute("mode", "constant") != "constant") return refuse(node, "a border that is no constant");
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  if (x.dtype != y.dtype || x.quantization != y.quantization) return refuse(node, "a result of another scale");
  const std::vector<int64_t> pads = node.ints_attribute("pads");
  if (x.shape.size() > 4 || pads[0] != 0 || pads[x.shape.size()] != 0)
    return refuse(node, "more than three axes, or the batch");
  if (std::any_of(pads.begin(), pads.end(), [](int64_t pad) { return pad < 0; })) return refuse(node, "negative pads");
  return {};
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
void register_pad_lower(LowerRegistry& registry) { registry.add("pad", {supports, lower}); }

}  // namespace hai::sd3403

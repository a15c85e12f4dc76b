// concat on the NPU: operands of the result's scale have been written in their place already; others are moved.
//
// Operands of another scale are rescaled on the way (types/arithmetic.h, hai_rescale), each rounding once.
#include "devices/sd3403/lower/chain.h"
#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/segment_builder.h"

namespace hai::sd3403 {
namespace {

int64_t axis_of(const ir::Graph& graph, const ir::Node& node) {
  const auto rank = static_cast<int64_t>(graph.value(node.outputs[0]).type.shape.size());
  const int64_t axis = node.int_attribute("axis", 0);
  return axis < 0 ? axis + rank : axis;
}

Legality legality() {
  return {{.rules = {takes(kEveryInput, Types::kElements), takes(kResult, Types::kElements), inner_axes("axis", 0),
                     rank(kResult, 2, 4)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const auto axis = static_cast<size_t>(axis_of(builder.graph(), node) - 1);
  const ir::TensorType& y = builder.type(node.outputs[0]);
  builder.result(node.outputs[0]);
  const View whole = builder.view(node.outputs[0]);
  const int64_t element = *element_of(y.dtype);
  int64_t first = 0;
  for (const ir::ValueId part : node.inputs) {
    const View from = builder.view(part);
    View to{whole.buffer, whole.offset + first * whole.strides[axis], from.dims, whole.strides};
    first += from.dims[axis];
    if (from.buffer == to.buffer && from.offset == to.offset && from.strides == to.strides) continue;  // in its place
    const ir::TensorType& x = builder.type(part);
    if (x.dtype == y.dtype && x.quantization == y.quantization) {
      builder.copy(from, to, element);
    } else {
      add_rescale(builder, builder.operand(part), x, *builder.slice_of(to, element), y);
    }
  }
  return {};
}

}  // namespace

void register_concat_lower(LowerRegistry& registry);
void register_concat_lower(LowerRegistry& registry) { registry.add("concat", {legality(), lower}); }

}  // namespace hai::sd3403

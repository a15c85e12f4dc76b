// resize on the NPU: Resize, with tables of the positions that every device reads (types/resize_map.h).
//
// Nearest moves integers and f16 as they are; linear weighs them in 1/2048 along each axis and rounds once.
#include <algorithm>
#include <array>
#include <bit>

#include "devices/sd3403/lower/half.h"
#include "types/arithmetic.h"
#include "types/resize_map.h"

namespace hai::sd3403 {
namespace {

struct Axes {
  std::array<ResizeAxis, 2> axis;
  ResizeNearest rounding = ResizeNearest::kRoundPreferFloor;
  bool linear = false;
};

Axes axes_of(const ir::Graph& graph, const ir::Node& node) {
  const Shape& x = graph.value(node.inputs[0]).type.shape;
  const Shape& y = graph.value(node.outputs[0]).type.shape;
  const std::vector<double> scales = node.floats_attribute("scales");
  Axes out;
  out.rounding = *resize_nearest_from(node.string_attribute("nearest", "round_prefer_floor"));
  out.linear = node.string_attribute("mode", "nearest") == "linear";
  for (size_t d = 0; d < 2; ++d) {
    ResizeAxis& axis = out.axis[d];
    axis.in = x[d + 1].value;
    axis.out = y[d + 1].value;
    axis.scale = scales.empty() ? static_cast<double>(axis.out) / static_cast<double>(axis.in) : scales[d];
    axis.coordinates = *resize_coordinates_from(node.string_attribute("coordinates", "half_pixel"));
  }
  return out;
}

std::vector<Position> positions_of(const Axes& axes, size_t d) {
  std::vector<Position> out;
  for (int64_t i = 0; i < axes.axis[d].out; ++i) {
    if (axes.linear) {
      const ResizeTap tap = resize_linear_tap(axes.axis[d], i);
      out.push_back(
          {static_cast<int32_t>(tap.first), static_cast<int32_t>(tap.second), HAI_RESIZE_ONE - tap.weight, tap.weight});
    } else {
      const auto at = static_cast<int32_t>(resize_nearest_index(axes.axis[d], axes.rounding, i));
      out.push_back({at, at, HAI_RESIZE_ONE, 0});
    }
  }
  return out;
}

Status check_mode(const ir::Graph& graph, const ir::Node& node) {
  const bool linear = node.string_attribute("mode", "nearest") == "linear";
  return linear && of_halves(graph, node) ? refuse(node, "linear of f16") : Status();
}

Legality legality() {
  return {{.rules = {takes(0, Types::kElements), takes(kResult, Types::kElements), rank(0, 4, 4),
                     checked("`mode` linear of integers alone", check_mode)}}};
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const ir::TensorType& x = builder.type(node.inputs[0]);
  const ir::TensorType& y = builder.type(node.outputs[0]);
  const Axes axes = axes_of(builder.graph(), node);
  Layer layer;
  layer.constants.rows = positions_of(axes, 0);
  layer.constants.columns = positions_of(axes, 1);
  RowWindow window;
  for (const Position& row : layer.constants.rows) {
    window.first.push_back(std::min(row.first, row.second));
    window.last.push_back(std::max(row.first, row.second));
  }
  const Slice from = builder.operand(node.inputs[0]);
  layer.writes = builder.result(node.outputs[0]);
  Resize c;
  c.interpolation = axes.linear ? kLinear : kNearest;
  c.input_columns = from.columns;
  c.channels = from.channels;
  c.input_zero_point = zero_point_of(x);
  c.output_columns = layer.writes.columns;
  if (axes.linear) {
    c.multiplier = std::bit_cast<uint32_t>(
        hai_multiplier_average(scale_of(x), scale_of(y), int64_t{HAI_RESIZE_ONE} * HAI_RESIZE_ONE));
  }
  c.zero_point = zero_point_of(y);
  c.least = integer_min(y.dtype);
  c.greatest = integer_max(y.dtype);
  layer.body = c;
  layer.reads = {{from, std::move(window)}};
  builder.add(std::move(layer));
  return {};
}

}  // namespace

void register_resize_lower(LowerRegistry& registry);
void register_resize_lower(LowerRegistry& registry) { registry.add("resize", {legality(), lower}); }

}  // namespace hai::sd3403

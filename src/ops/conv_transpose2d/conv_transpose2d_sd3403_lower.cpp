// conv_transpose2d on the NPU: one Convolve for each phase of rows and columns (types/transpose_phase.h), whose results
// lie `stride` rows and pixels apart.
//
// Groups, and phases without a tap (a window smaller than the stride), stay on the CPU.
#include <algorithm>

#include "devices/sd3403/lower/product.h"
#include "types/transpose_phase.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostDilation = 63;
constexpr int64_t kMostPad = 63;

struct Geometry {
  std::vector<PhaseAxis> rows, columns;  // by phase
  std::vector<int64_t> strides;
};

Geometry geometry_of(const ir::Graph& graph, const ir::Node& node) {
  const auto pads = node.ints_attribute("pads", {0, 0, 0, 0});
  const auto dilations = node.ints_attribute("dilations", {1, 1});
  const Shape& weights = graph.value(node.inputs[1]).type.shape;
  const Shape& y = graph.value(node.outputs[0]).type.shape;
  Geometry g;
  g.strides = node.ints_attribute("strides", {1, 1});
  for (size_t axis = 0; axis < 2; ++axis) {
    for (int64_t r = 0; r < g.strides[axis]; ++r) {
      (axis == 0 ? g.rows : g.columns)
          .push_back(
              phase_axis(r, weights[axis + 1].value, g.strides[axis], dilations[axis], pads[axis], y[axis + 1].value));
    }
  }
  return g;
}

// Every window must see something of the input, since a tile has at least a row.
bool sees_input(const PhaseAxis& axis, int64_t size) {
  const auto count = static_cast<int64_t>(axis.taps.size());
  const int64_t first_end = -axis.pad + (count - 1) * axis.dilation;
  return count > 0 && first_end >= 0 && axis.outputs - 1 - axis.pad < size && axis.dilation <= kMostDilation &&
         axis.pad <= kMostPad;
}

Status check_phases(const ir::Graph& graph, const ir::Node& node) {
  const Shape& x = graph.value(node.inputs[0]).type.shape;
  const Geometry g = geometry_of(graph, node);
  for (size_t axis = 0; axis < 2; ++axis) {
    for (const PhaseAxis& phase : axis == 0 ? g.rows : g.columns) {
      if (phase.outputs == 0 || !sees_input(phase, x[axis + 1].value) || phase.taps.size() > 127)
        return refuse(node, "a phase without taps, or windows beyond the input");
    }
  }
  return {};
}

Legality legality() {
  return {{.rules = join({product_rules(),
                          {attribute_between("groups", 1, 1), attribute_between("strides", 1, 8),
                           checked("in every phase of the strides a tap, and windows that see `x`", check_phases)}})}};
}

Layer phase_layer(const Layer& whole, const Geometry& g, size_t p, size_t q, const Shape& shape) {
  Layer layer = whole;
  const PhaseAxis& rows = g.rows[p];
  const PhaseAxis& columns = g.columns[q];
  auto& c = std::get<Convolve>(layer.body);
  c.window_rows = static_cast<int64_t>(rows.taps.size());
  c.window_columns = static_cast<int64_t>(columns.taps.size());
  c.dilation_rows = rows.dilation;
  c.dilation_columns = columns.dilation;
  Slice& x = layer.reads[0].slice;
  c.pad_left = std::max<int64_t>(columns.pad, 0);
  const int64_t skipped = std::max<int64_t>(-columns.pad, 0);
  x.offset_bytes += skipped * x.pixel_stride;
  x.columns -= skipped;
  c.input_columns = x.columns;
  layer.reads[0].window = {c.window_rows, 1, rows.dilation, rows.pad, {}, {}};
  layer.writes.rows = rows.outputs;
  layer.writes.columns = columns.outputs;
  layer.writes.first_row += static_cast<int64_t>(p);
  layer.writes.row_step = g.strides[0];
  layer.writes.offset_bytes += static_cast<int64_t>(q) * layer.writes.pixel_stride;
  layer.writes.pixel_stride *= g.strides[1];
  c.output_columns = columns.outputs;
  layer.macs =
      rows.outputs * columns.outputs * layer.writes.channels * c.window_rows * c.window_columns * shape[3].value;
  layer.constants.window = c.window_rows * c.window_columns;
  layer.constants.weights.clear();
  for (int64_t o = 0; o < shape[0].value; ++o) {
    for (const int64_t ky : rows.taps) {
      for (const int64_t kx : columns.taps) {
        const auto from =
            whole.constants.weights.begin() + ((o * shape[1].value + ky) * shape[2].value + kx) * shape[3].value;
        layer.constants.weights.insert(layer.constants.weights.end(), from, from + shape[3].value);
      }
    }
  }
  return layer;
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const Geometry g = geometry_of(builder.graph(), node);
  const Shape& shape = builder.type(node.inputs[1]).shape;
  Layer whole;
  whole.constants.weights = centred_weights(builder.graph(), node, 0);
  whole.constants.depth = shape[3].value;
  const Slice x = builder.operand(node.inputs[0]);
  Convolve c;
  c.input_channels = x.channels;
  c.output_channels = shape[0].value;
  whole.body = c;
  whole.reads = {{x, {}}};
  HAI_TRY_STATUS(finish_product(builder, whole));
  for (size_t p = 0; p < g.rows.size(); ++p) {
    for (size_t q = 0; q < g.columns.size(); ++q) builder.add(phase_layer(whole, g, p, q, shape));
  }
  return {};
}

}  // namespace

void register_conv_transpose2d_lower(LowerRegistry& registry);
void register_conv_transpose2d_lower(LowerRegistry& registry) { registry.add("conv_transpose2d", {legality(), lower}); }

}  // namespace hai::sd3403

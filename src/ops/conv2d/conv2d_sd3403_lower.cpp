// conv2d on the NPU: Convolve, dense or depthwise; a convolution of few groups is one command a group.
//
// The array takes 16 channels of one pixel a step, so that an image of 3 channels would leave 13 lanes idle. Where the
// window is wider than a pixel, its row is a run of bytes of the image: the run takes the place of the channels, and
// pixels overlap (of f16 it has 4 lanes, which 3 channels fill as well). Padding columns must then lie in memory: the
// image is copied between them.
#include <fmt/format.h>

#include <algorithm>

#include "base/checked.h"
#include "devices/sd3403/lower/half.h"
#include "devices/sd3403/lower/product.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kLanes = 16;
constexpr int64_t kMostGroups = 64;

struct Geometry {
  std::vector<int64_t> strides, pads, dilations;
  int64_t groups = 1;
  int64_t kernel_rows = 1, kernel_columns = 1, depth = 1;
  bool depthwise = false;
};

Geometry geometry_of(const ir::Graph& graph, const ir::Node& node) {
  Geometry g;
  g.strides = node.ints_attribute("strides", {1, 1});
  g.pads = node.ints_attribute("pads", {0, 0, 0, 0});
  g.dilations = node.ints_attribute("dilations", {1, 1});
  g.groups = node.int_attribute("groups", 1);
  const Shape& weights = graph.value(node.inputs[1]).type.shape;
  g.kernel_rows = weights[1].value;
  g.kernel_columns = weights[2].value;
  g.depth = weights[3].value;
  g.depthwise = g.groups > 1 && g.depth == 1 && weights[0].value == g.groups;
  return g;
}

// A tile has a row at least: some row of every window must lie in the image.
Status check_padding(const ir::Graph& graph, const ir::Node& node) {
  const Geometry g = geometry_of(graph, node);
  const int64_t window = (g.kernel_rows - 1) * g.dilations[0] + 1;
  if (g.pads[0] < window && g.pads[2] < window) return {};
  return refuse(node, "windows that lie in the padding alone");
}

Status check_groups(const ir::Graph& graph, const ir::Node& node) {
  const Geometry g = geometry_of(graph, node);
  if (g.depthwise || g.groups <= kMostGroups) return {};
  return refuse(node, fmt::format("{} groups that are not depthwise; {} fit", g.groups, kMostGroups));
}

Rules own_rules() {
  return {attribute_between("strides", 1, 63),
          attribute_between("dilations", 1, 63),
          attribute_between("pads", 0, 63),
          size(1, 1, 127),
          size(1, 2, 127),
          checked("a row of the picture in every window", check_padding),
          checked("depthwise, or at most 64 groups", check_groups)};
}

Legality legality() {
  return {{"of f16", of_halves, join({half_product_rules(), own_rules()})},
          {"of integers", nullptr, join({product_rules(), {takes(3, Types::kIntegers)}, own_rules()})}};
}

// The image between columns of its zero point.
Slice padded_image(SegmentBuilder& builder, const Slice& x, const Geometry& g) {
  const ir::TensorType& type = builder.type(builder.node().inputs[0]);
  const int64_t left = g.pads[1];
  const int64_t right = g.pads[3];
  const int64_t columns = x.columns + left + right;
  const BufferId id = builder.add_buffer("padded", x.rows, columns, x.channels, x.type);
  Slice whole = builder.whole_slice(id);
  const auto part = [&](int64_t first, int64_t count) {
    Slice slice = whole;
    slice.columns = 1;
    slice.channels = count * x.channels;
    slice.offset_bytes = first * x.pixel_stride;
    slice.pixel_stride = slice.channels * slice.channel_stride;
    return slice;
  };
  const auto add = [&](Layer layer) {
    layer.op = "copy";
    layer.name = builder.node().name + ".pad";
    builder.add(std::move(layer));
  };
  for (const auto& [first, count] : {std::pair{int64_t{0}, left}, std::pair{left + x.columns, right}}) {
    if (count == 0) continue;
    Layer fill;
    Copy body;
    body.fills = 1;
    body.fill_value = zero_point_of(type);
    body.output_channel_stride = x.channel_stride;
    body.columns = 1;
    body.channels = count * x.channels;
    fill.body = body;
    fill.writes = part(first, count);
    add(std::move(fill));
  }
  Layer move;
  Copy body;
  body.input_channel_stride = body.output_channel_stride = x.channel_stride;
  body.columns = 1;
  body.channels = x.columns * x.channels;
  move.body = body;
  move.writes = part(left, x.columns);
  Slice from = x;
  from.columns = 1;
  from.channels = x.columns * x.channels;
  from.pixel_stride = from.channels * from.channel_stride;
  move.reads = {{from, {}}};
  add(std::move(move));
  return whole;
}

Slice channels_of(Slice slice, int64_t first, int64_t count) {
  slice.offset_bytes += first * slice.channel_stride;
  slice.channels = count;
  return slice;
}

// One layer for each group.
void add_groups(SegmentBuilder& builder, const Layer& whole, const Geometry& g) {
  const int64_t in = whole.reads[0].slice.channels / g.groups;
  const int64_t out = whole.writes.channels / g.groups;
  const auto length = static_cast<size_t>(whole.constants.window * whole.constants.depth);
  for (int64_t i = 0; i < g.groups; ++i) {
    Layer layer = whole;
    layer.macs = whole.macs / g.groups;
    layer.reads[0].slice = channels_of(layer.reads[0].slice, i * in, in);
    if (layer.reads.size() > 1) layer.reads[1].slice = channels_of(layer.reads[1].slice, i * out, out);
    layer.writes = channels_of(layer.writes, i * out, out);
    auto& c = std::get<Convolve>(layer.body);
    c.input_channels = in;
    c.output_channels = out;
    const auto cut = [&](auto& values, size_t each) {
      const auto first = values.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(i * out) * each);
      values = {first, first + static_cast<std::ptrdiff_t>(static_cast<size_t>(out) * each)};
    };
    cut(layer.constants.weights, length);
    cut(layer.constants.bias, 1);
    cut(layer.constants.multipliers, 1);
    builder.add(std::move(layer));
  }
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const Geometry g = geometry_of(builder.graph(), node);
  Layer layer;
  layer.macs = builder.macs();
  Convolve c;
  c.connection = g.depthwise ? kDepthwise : kDense;
  c.window_rows = g.kernel_rows;
  c.window_columns = g.kernel_columns;
  c.stride_rows = g.strides[0];
  c.stride_columns = g.strides[1];
  c.dilation_rows = g.dilations[0];
  c.dilation_columns = g.dilations[1];
  c.pad_left = g.pads[1];
  layer.constants.window = g.kernel_rows * g.kernel_columns;
  layer.constants.depth = g.depth;
  layer.constants.weights = centred_weights(builder.graph(), node, 0);
  Slice x = builder.operand(node.inputs[0]);
  const int64_t out_columns = builder.type(node.outputs[0]).shape[2].value;
  const bool runs = g.groups == 1 && x.type != kF16 && g.dilations[1] == 1 && g.kernel_columns > 1 &&
                    2 * x.channels <= kLanes && x.pixel_stride == x.channels * x.channel_stride &&
                    ceil_div(g.kernel_columns * x.channels, kLanes) < g.kernel_columns;
  if (runs) {
    if (g.pads[1] + g.pads[3] > 0) x = padded_image(builder, x, g);
    c.window_columns = 1;
    c.stride_columns = 1;
    c.pad_left = 0;
    layer.constants.window = g.kernel_rows;
    layer.constants.depth = g.kernel_columns * g.depth;
    x.columns = out_columns;
    x.pixel_stride = g.strides[1] * x.channels * x.channel_stride;
    x.channels = layer.constants.depth;
  }
  c.input_channels = x.channels;
  c.input_columns = x.columns;
  layer.body = c;
  layer.reads = {{x, {g.kernel_rows, g.strides[0], g.dilations[0], g.pads[0], {}, {}}}};
  HAI_TRY_STATUS(finish_product(builder, layer));
  std::get<Convolve>(layer.body).output_channels = layer.writes.channels;
  std::get<Convolve>(layer.body).output_columns = layer.writes.columns;
  if (g.groups == 1 || g.depthwise) {
    builder.add(std::move(layer));
  } else {
    add_groups(builder, layer, g);
  }
  return {};
}

}  // namespace

void register_conv2d_lower(LowerRegistry& registry);
void register_conv2d_lower(LowerRegistry& registry) { registry.add("conv2d", {legality(), lower}); }

}  // namespace hai::sd3403

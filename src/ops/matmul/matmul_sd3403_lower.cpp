// matmul with a constant matrix on the NPU: a 1x1 convolution whose pixels are the rows of a.
//
// A product of two activations is not taken: its right operand would have to become blocks of the weight cache.
#include "devices/sd3403/lower/product.h"

namespace hai::sd3403 {
namespace {

// Of the matrix: [K, N], or [N, K].
int channel_axis(const ir::Node& node) { return node.int_attribute("transpose_b", 0) != 0 ? 0 : 1; }

Status supports(const ir::Graph& graph, const ir::Node& node) {
  if (graph.value(node.inputs[1]).type.shape.size() != 2) return refuse(node, "its matrices are a batch");
  return product_supports(graph, node, channel_axis(node));
}

// [K][N] to [N][K].
std::vector<int16_t> transposed(const std::vector<int16_t>& from, size_t rows, size_t columns) {
  std::vector<int16_t> to(from.size());
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
  }
  return to;
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const bool transpose_b = channel_axis(node) == 0;
  const Shape& b = builder.type(node.inputs[1]).shape;
  Layer layer;
  layer.macs = builder.macs();
  layer.constants.depth = b[transpose_b ? 1 : 0].value;
  layer.constants.weights = centred_weights(builder.graph(), node, channel_axis(node));
  if (!transpose_b) {
    layer.constants.weights =
        transposed(layer.constants.weights, static_cast<size_t>(b[0].value), static_cast<size_t>(b[1].value));
  }
  const Slice x = builder.operand(node.inputs[0]);
  Convolve c;
  c.input_channels = x.channels;
  c.input_columns = x.columns;
  layer.body = c;
  layer.reads = {{x, {}}};
  HAI_TRY_STATUS(finish_product(builder, layer));
  std::get<Convolve>(layer.body).output_channels = layer.writes.channels;
  std::get<Convolve>(layer.body).output_columns = layer.writes.columns;
  builder.add(std::move(layer));
  return {};
}

}  // namespace

void register_matmul_lower(LowerRegistry& registry);
void register_matmul_lower(LowerRegistry& registry) { registry.add("matmul", {supports, lower}); }

}  // namespace hai::sd3403

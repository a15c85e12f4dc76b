// add, sub and mul of quantized tensors on the NPU: Combine, with a right operand that may be one value a channel, or
// one value for all.
//
// Shapes that broadcast in another way stay on the CPU: the right operand is walked with strides of 0 along rows and
// pixels, or along channels, and nothing else.
#include <bit>

#include "devices/sd3403/lower/segment_builder.h"
#include "types/arithmetic.h"

namespace hai::sd3403 {
namespace {

enum class Reach : uint8_t { kEqual, kChannels, kPixels, kOne, kOther };

// How operand `b` covers the result.
Reach reach_of(const std::vector<int64_t>& b, const std::vector<int64_t>& y) {
  if (b == y) return Reach::kEqual;
  if (b.size() > y.size()) return Reach::kOther;
  std::vector<int64_t> full(y.size() - b.size(), 1);
  full.insert(full.end(), b.begin(), b.end());
  const bool channels = full.back() == y.back();
  bool outer_ones = true;
  bool outer_equal = true;
  for (size_t i = 0; i + 1 < y.size(); ++i) {
    outer_ones = outer_ones && full[i] == 1;
    outer_equal = outer_equal && full[i] == y[i];
  }
  if (outer_ones && channels) return Reach::kChannels;
  if (outer_ones && full.back() == 1) return Reach::kOne;
  return outer_equal && full.back() == 1 ? Reach::kPixels : Reach::kOther;
}

bool whole(const ir::Graph& graph, const ir::Node& node, size_t operand) {
  return sample_dims(graph, node.inputs[operand]) == sample_dims(graph, node.outputs[0]);
}

Status supports(const ir::Graph& graph, const ir::Node& node) {
  for (const ir::ValueId value : {node.inputs[0], node.inputs[1], node.outputs[0]}) {
    HAI_TRY_STATUS(require_integers(graph, node, value));
  }
  const size_t left = whole(graph, node, 0) ? 0 : 1;
  const bool covers =
      whole(graph, node, left) && sample_dims(graph, node.outputs[0]).size() <= 3 &&
      reach_of(sample_dims(graph, node.inputs[1 - left]), sample_dims(graph, node.outputs[0])) != Reach::kOther;
  if (!covers) return refuse(node, "operands that broadcast along rows or columns alone");
  return {};
}

int64_t bits_of(float value) { return static_cast<int64_t>(std::bit_cast<uint32_t>(value)); }

template <int64_t kArithmetic>
Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const size_t first = whole(builder.graph(), node, 0) ? 0 : 1;
  const ir::TensorType& y = builder.type(node.outputs[0]);
  const ir::TensorType* types[2] = {&builder.type(node.inputs[first]), &builder.type(node.inputs[1 - first])};
  Combine c;
  // b - a is no subtraction of the left operand: the signs of both multipliers change places.
  c.arithmetic = kArithmetic;
  float multipliers[2];
  for (size_t i = 0; i < 2; ++i) {
    multipliers[i] = kArithmetic == kMultiply
                         ? hai_multiplier_product(scale_of(*types[0]), scale_of(*types[1]), scale_of(y))
                         : hai_multiplier_ratio(scale_of(*types[i]), scale_of(y));
  }
  if (kArithmetic == kSubtract && first == 1) {
    c.arithmetic = kAdd;
    multipliers[0] = -multipliers[0];
  }
  c.left_multiplier = bits_of(multipliers[0]);
  c.right_multiplier = bits_of(multipliers[1]);
  c.left_zero_point = zero_point_of(*types[0]);
  c.right_zero_point = zero_point_of(*types[1]);
  c.zero_point = zero_point_of(y);
  c.least = integer_min(y.dtype);
  c.greatest = integer_max(y.dtype);
  Layer layer;
  const Slice left = builder.operand(node.inputs[first]);
  Slice right = builder.operand(node.inputs[1 - first]);
  layer.writes = builder.result(node.outputs[0]);
  const Reach reach =
      reach_of(sample_dims(builder.graph(), node.inputs[1 - first]), sample_dims(builder.graph(), node.outputs[0]));
  RowWindow window;
  if (reach == Reach::kPixels || reach == Reach::kOne) c.right_repeats = 1;
  if (reach == Reach::kChannels || reach == Reach::kOne) {
    right.pixel_stride = 0;
    right.row_stride = 0;
    right.whole = true;
    right.offset_bytes = builder.first_byte(right);
    right.first_row = 0;
  }
  if (reach == Reach::kPixels) {  // rank 2 holds its pixels as rows, like the result
    right.channels = 1;
  }
  c.columns = layer.writes.columns;
  c.channels = layer.writes.channels;
  layer.body = c;
  layer.reads = {{left, {}}, {right, window}};
  builder.add(std::move(layer));
  return {};
}

}  // namespace

void register_binary_lower(LowerRegistry& registry);
void register_binary_lower(LowerRegistry& registry) {
  registry.add("add", {supports, lower<kAdd>});
  registry.add("sub", {supports, lower<kSubtract>});
  registry.add("mul", {supports, lower<kMultiply>});
}

}  // namespace hai::sd3403

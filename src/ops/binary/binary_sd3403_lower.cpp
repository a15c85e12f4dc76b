// add, sub and mul of quantized tensors and of f16 on the NPU: Combine, with a right operand that may be one value a
// channel, or one value for all.
//
// Shapes that broadcast in another way stay on the CPU: the right operand is walked with strides of 0 along rows and
// pixels, or along channels, and nothing else. It may be a constant, which is loaded like a tensor.
#include <fmt/format.h>

#include <bit>
#include <optional>

#include "devices/sd3403/lower/half.h"
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

bool is_constant(const ir::Graph& graph, const ir::Node& node, size_t operand) {
  return graph.value(node.inputs[operand]).is_constant();
}

// Sizes without the batch axis, which a constant may lack.
std::vector<int64_t> dims_of(const ir::Graph& graph, const ir::Node& node, size_t operand) {
  if (!is_constant(graph, node, operand)) return sample_dims(graph, node.inputs[operand]);
  const Shape& shape = graph.value(node.inputs[operand]).type.shape;
  const bool has_batch = shape.size() == graph.value(node.outputs[0]).type.shape.size();
  std::vector<int64_t> dims;
  for (size_t i = has_batch ? 1 : 0; i < shape.size(); ++i) dims.push_back(shape[i].value);
  return dims;
}

Status require_operand(const ir::Graph& graph, const ir::Node& node, size_t operand) {
  if (!is_constant(graph, node, operand)) return require_elements(graph, node, node.inputs[operand]);
  const ir::Value& value = graph.value(node.inputs[operand]);
  const DataType dtype = value.type.dtype;
  if (dtype != DataType::kI8 && dtype != DataType::kU8 && dtype != DataType::kI16)
    return refuse(node, fmt::format("a constant of {}", data_type_name(dtype)));
  if (!value.type.quantization || value.type.quantization->scales.size() != 1)
    return refuse(node, "a constant that has no single scale");
  const Shape& shape = value.type.shape;
  const size_t rank = graph.value(node.outputs[0]).type.shape.size();
  if (shape.size() > rank || (shape.size() == rank && shape[0].value != 1))
    return refuse(node, "a constant of a value a sample");
  return {};
}

// The operand that is as large as the result, and no constant.
std::optional<size_t> whole(const ir::Graph& graph, const ir::Node& node) {
  for (const size_t operand : {size_t{0}, size_t{1}}) {
    if (is_constant(graph, node, operand)) continue;
    if (dims_of(graph, node, operand) == sample_dims(graph, node.outputs[0])) return operand;
  }
  return std::nullopt;
}

Status check_operands(const ir::Graph& graph, const ir::Node& node) {
  for (const size_t operand : {size_t{0}, size_t{1}}) HAI_TRY_STATUS(require_operand(graph, node, operand));
  return {};
}

Status check_broadcast(const ir::Graph& graph, const ir::Node& node) {
  const std::vector<int64_t> dims = sample_dims(graph, node.outputs[0]);
  const std::optional<size_t> left = whole(graph, node);
  const bool covers = left && dims.size() <= 3 && reach_of(dims_of(graph, node, 1 - *left), dims) != Reach::kOther;
  return covers ? Status() : refuse(node, "operands that broadcast along rows or columns alone");
}

// A difference whose operands change places has the signs of both multipliers changed; f16 has no multipliers.
Status check_order(const ir::Graph& graph, const ir::Node& node) {
  if (!is_half(graph.value(node.outputs[0]).type) || whole(graph, node) == size_t{0}) return {};
  return refuse(node, "a difference of f16 whose first operand is the smaller");
}

Rules rules() {
  return {checked("operands of i8, u8 or i16 with one scale, or f16; constants of integers, without a batch",
                  check_operands),
          takes(kResult, Types::kElements),
          checked("one operand as large as the result, the other too, or one value a channel, a pixel or in all",
                  check_broadcast)};
}

Legality legality() { return {{.rules = rules()}}; }
Legality legality_of_difference() {
  return {{.rules = join({rules(), {checked("of f16 the first operand the larger", check_order)}})}};
}

int64_t bits_of(float value) { return static_cast<int64_t>(std::bit_cast<uint32_t>(value)); }

template <int64_t kArithmetic>
Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const size_t first = *whole(builder.graph(), node);
  const std::vector<int64_t> right_dims = dims_of(builder.graph(), node, 1 - first);
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
  c.least = is_half(y) ? kHalfLeast : integer_min(y.dtype);
  c.greatest = is_half(y) ? kHalfGreatest : integer_max(y.dtype);
  Layer layer;
  const Slice left = builder.operand(node.inputs[first]);
  Slice right = is_constant(builder.graph(), node, 1 - first) ? builder.constant(node.inputs[1 - first], right_dims)
                                                              : builder.operand(node.inputs[1 - first]);
  layer.writes = builder.result(node.outputs[0]);
  const Reach reach = reach_of(right_dims, sample_dims(builder.graph(), node.outputs[0]));
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
  registry.add("add", {legality(), lower<kAdd>});
  registry.add("sub", {legality_of_difference(), lower<kSubtract>});
  registry.add("mul", {legality(), lower<kMultiply>});
}

}  // namespace hai::sd3403

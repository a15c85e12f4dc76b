// The epilogue of a convolution or matrix product as fields of Convolve.
//
// The rounding points are those of types/epilogue.h: where a table or a residual follows, the sum is first rounded to
// the point in front of it. Multipliers are made from scales as every device makes them (types/arithmetic.h).
#include "devices/sd3403/lower/product.h"

#include "devices/sd3403/lower/constants.h"
#include "devices/sd3403/lower/half.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "ops/reference.h"
#include "ops/work.h"
#include "types/epilogue.h"
#include "types/function_table.h"

namespace hai::sd3403 {
namespace {

// Of a core's weight cache of 128 KiB less the part for small tables, so that 32 KiB of weights may be there too.
constexpr int64_t kMostTableBytes = 81920;
constexpr int64_t kRoomBesideTables = 114688;
constexpr int64_t kPixelsOfWideSums = 256;  // that the accumulators hold while another pass uses their other half

const ir::TensorType* type_of(const ir::Graph& graph, const ir::Node& node, size_t operand) {
  if (operand >= node.inputs.size() || node.inputs[operand] == ir::kNone) return nullptr;
  return &graph.value(node.inputs[operand]).type;
}

int64_t bits_of(float value) { return static_cast<int64_t>(std::bit_cast<uint32_t>(value)); }

hai_output_range full_range(DataType y, const RoundingPoint& point) {
  const DataType dtype = point.dtype(y);
  return {point.zero_point, static_cast<int32_t>(integer_min(dtype)), static_cast<int32_t>(integer_max(dtype))};
}

std::vector<int64_t> bias_of(const ir::Graph& graph, const ir::Node& node, size_t channels) {
  std::vector<int64_t> bias(channels, 0);
  if (type_of(graph, node, 2) == nullptr) return bias;
  const ir::Value& value = graph.value(node.inputs[2]);
  const std::byte* data = value.constant->bytes().data();
  for (size_t c = 0; c < channels; ++c) {
    bias[c] = value.type.dtype == DataType::kI64 ? reinterpret_cast<const int64_t*>(data)[c]
                                                 : reinterpret_cast<const int32_t*>(data)[c];
  }
  return bias;
}

void set_result(Convolve& c, const hai_output_range& range) {
  c.zero_point = range.zero_point;
  c.least = range.lo;
  c.greatest = range.hi;
}

// The points where a sum is rounded first, where it is before the residual, and where it is last.
struct Points {
  RoundingPoint first, before_add, last;
};
Points points_of(const ir::Graph& graph, const ir::Node& node, const Epilogue& epilogue) {
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  Points points;
  if (y.dtype != DataType::kF32) points.last = {scale_of(y), zero_point_of(y)};
  points.before_add = type_of(graph, node, 3) != nullptr ? *epilogue.pre_residual : points.last;
  points.first = epilogue.activation.is_clamp() ? points.before_add : *epilogue.conv;
  return points;
}

FunctionTable table_of(const Points& points, const Epilogue& epilogue, DataType y) {
  return make_function_table(epilogue.activation, points.first.scale, full_range(y, points.first),
                             points.before_add.scale, full_range(y, points.before_add));
}

Status check_table(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY(const Epilogue epilogue, parse_epilogue(node.attributes));
  const DataType y = graph.value(node.outputs[0]).type.dtype;
  if (epilogue.activation.is_clamp() || y == DataType::kF32) return {};
  const Points points = points_of(graph, node, epilogue);
  if (bit_width(points.first.dtype(y)) == 8) return {};
  int64_t form = 0;
  const int64_t bytes = choose_table_form(table_of(points, epilogue, y).entries, 2, kTable, kCurve, form);
  if (bytes > kMostTableBytes) return refuse(node, fmt::format("a table of {} bytes; {} fit", bytes, kMostTableBytes));
  // Weights of 16 output channels that do not fit beside it are cut, and sums of a row must wait then.
  const Shape& shape = graph.value(node.outputs[0]).type.shape;
  const int64_t columns = shape.size() < 3 ? 1 : shape[shape.size() - 2].value;
  if (columns <= kPixelsOfWideSums || bytes <= kMostTableBytes / 2) return {};
  const int64_t weights = 2 * kBlockChannels * ops::macs_of(graph, node) / element_count(shape)->value;
  if (weights + bytes + kBlockChannels * kBlockChannels <= kRoomBesideTables) return {};
  return refuse(node, fmt::format("a table of {} bytes beside {} of weights for 16 channels", bytes, weights));
}

// Weights less their zero points, in the order of the constant.
template <typename Use>
void for_each_weight(const ir::Graph& graph, const ir::Node& node, int channel_axis, Use use) {
  const ir::Value& value = graph.value(node.inputs[1]);
  const Quantization& quantization = *value.type.quantization;
  TensorView view;
  view.data = value.constant->bytes().data();
  view.dtype = value.type.dtype;
  view.dims = resolve(value.type.shape, {});
  int64_t inner = 1;
  for (int axis = channel_axis + 1; axis < view.dims.rank; ++axis) inner *= view.dims[axis];
  const int64_t channels = view.dims[channel_axis];
  const int64_t count = view.count();
  for (int64_t i = 0; i < count; ++i) {
    const size_t at = quantization.per_tensor() ? 0 : static_cast<size_t>(i / inner % channels);
    use(ops::load_integer(view, i) - quantization.zero_points[at]);
  }
}

// Zero points can take weights out of the 8 bits that go with an 8-bit x, and of the 16 that go with any.
Status check_weight_range(const ir::Graph& graph, const ir::Node& node) {
  const Quantization& quantization = *graph.value(node.inputs[1]).type.quantization;
  const bool is_signed = !is_unsigned_integer(graph.value(node.inputs[1]).type.dtype);
  const std::vector<int32_t>& zero_points = quantization.zero_points;
  if (is_signed && std::all_of(zero_points.begin(), zero_points.end(), [](int32_t z) { return z == 0; })) return {};
  const bool wide = graph.value(node.inputs[0]).type.dtype == DataType::kI16;
  const int64_t least = wide ? INT16_MIN : INT8_MIN;
  const int64_t greatest = wide ? INT16_MAX : INT8_MAX;
  std::optional<int64_t> beyond;
  for_each_weight(graph, node, std::max(quantization.axis, 0), [&](int64_t weight) {
    if (weight < least || weight > greatest) beyond = weight;
  });
  if (!beyond) return {};
  return refuse(node, fmt::format("a weight less its zero point is {}, outside of {} to {}", *beyond, least, greatest));
}

// Whether |bias| + sum |w| * max |q - zero point| stays within 31 bits in every output channel.
bool sums_are_narrow(const Layer& layer, const ir::TensorType& x) {
  const std::vector<int16_t>& weights = layer.constants.weights;
  const std::vector<int64_t>& bias = layer.constants.bias;
  if (weights.empty()) return false;
  const int64_t zero = zero_point_of(x);
  const int64_t reach = std::max(integer_max(x.dtype) - zero, zero - integer_min(x.dtype));
  const size_t length = weights.size() / bias.size();
  for (size_t o = 0; o < bias.size(); ++o) {
    int64_t sum = 0;
    for (size_t i = o * length; i < (o + 1) * length; ++i) sum += std::abs(int64_t{weights[i]});
    if (std::abs(bias[o]) > INT32_MAX || sum > (INT32_MAX - std::abs(bias[o])) / reach) return false;
  }
  return true;
}

Status check_rounding(const ir::Graph&, const ir::Node& node) {
  HAI_TRY(const Epilogue epilogue, parse_epilogue(node.attributes));
  return epilogue.fixed_point ? refuse(node, "rounding as TensorFlow Lite does") : Status();
}

Status check_result(const ir::Graph& graph, const ir::Node& node) {
  const DataType x = graph.value(node.inputs[0]).type.dtype;
  const DataType y = graph.value(node.outputs[0]).type.dtype;
  if (y == DataType::kF32) return {};
  HAI_TRY_STATUS(require_integers(graph, node, node.outputs[0]));
  if (x != DataType::kI16 || y == DataType::kI16) return {};
  return refuse(node, fmt::format("i16 gives {}", data_type_name(y)));
}

Status check_weights(const ir::Graph& graph, const ir::Node& node) {
  const DataType x = graph.value(node.inputs[0]).type.dtype;
  const ir::TensorType& weights = graph.value(node.inputs[1]).type;
  const bool small = bit_width(weights.dtype) == 4 || bit_width(weights.dtype) == 8;
  if (!is_integer(weights.dtype) || !(small || (x == DataType::kI16 && weights.dtype == DataType::kI16)))
    return refuse(node, fmt::format("weights of {}", data_type_name(weights.dtype)));
  if (!weights.quantization || weights.quantization->block != 0) return refuse(node, "weights with scales by block");
  return {};
}

}  // namespace

Rules epilogue_rules() {
  return {constant(2), checked("rounding half to even", check_rounding),
          checked("a result of i8, u8 or i16 with one scale, or f32; of i16 where `x` is, or f32", check_result),
          checked("a function whose table fits the weight cache", check_table)};
}

Rules product_rules() {
  return join(
      {{takes(0, Types::kIntegers), constant(1),
        checked("weights of 4 or 8 bits, or of 16 beside an `x` of i16, without scales by block", check_weights)},
       epilogue_rules(),
       {checked("weights less their zero points within 8 bits, or 16 beside an `x` of i16", check_weight_range)}});
}

std::vector<int16_t> centred_weights(const ir::Graph& graph, const ir::Node& node, int channel_axis) {
  if (is_half(graph.value(node.inputs[0]).type)) return half_weights(graph, node);
  std::vector<int16_t> out;
  out.reserve(graph.value(node.inputs[1]).constant->bytes().size());
  for_each_weight(graph, node, channel_axis, [&](int64_t weight) { out.push_back(static_cast<int16_t>(weight)); });
  return out;
}

Status finish_product(SegmentBuilder& builder, Layer& layer) {
  if (is_half(builder.type(builder.node().inputs[0]))) return finish_half_product(builder, layer);
  const ir::Graph& graph = builder.graph();
  const ir::Node& node = builder.node();
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  auto& c = std::get<Convolve>(layer.body);
  const auto [least, greatest] = std::minmax_element(layer.constants.weights.begin(), layer.constants.weights.end());
  const bool bytes = *least >= INT8_MIN && *greatest <= INT8_MAX;
  const bool nibbles = *least >= -8 && *greatest <= 7 && bit_width(graph.value(node.inputs[1]).type.dtype) == 4;
  c.weights = nibbles && x.dtype != DataType::kI16 ? kWeightI4 : bytes ? kWeightI8 : kWeightI16;
  layer.writes = builder.result(node.outputs[0]);
  return finish_sums(builder, layer);
}

Status finish_sums(SegmentBuilder& builder, Layer& layer) {
  const ir::Graph& graph = builder.graph();
  const ir::Node& node = builder.node();
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  const Quantization& scales = *graph.value(node.inputs[1]).type.quantization;
  auto& c = std::get<Convolve>(layer.body);
  c.first_sum = c.last_sum = 1;
  c.input_zero_point = zero_point_of(x);
  const auto channels = static_cast<size_t>(layer.writes.channels);
  layer.constants.bias = bias_of(graph, node, channels);
  HAI_TRY(const Epilogue epilogue, parse_epilogue(node.attributes));
  const bool to_float = y.dtype == DataType::kF32;
  const ir::TensorType* residual = type_of(graph, node, 3);
  const Points points = points_of(graph, node, epilogue);
  const auto& [first, before_add, last] = points;
  for (size_t channel = 0; channel < channels; ++channel) {
    const double scale = scales.scales[scales.per_tensor() ? 0 : channel];
    const auto s_w = static_cast<float>(scale * layer.constants.weight_factor);
    layer.constants.multipliers.push_back(hai_multiplier_product(scale_of(x), s_w, to_float ? 1.0F : first.scale));
  }
  c.narrow_sums = x.dtype == DataType::kI16 && sums_are_narrow(layer, x) ? 1 : 0;
  if (to_float) return {};
  hai_output_range range = full_range(y.dtype, first);
  if (epilogue.activation.is_clamp()) {
    range = clamp_range(epilogue.activation, first.scale, range);
  } else {
    const FunctionTable table = table_of(points, epilogue, y.dtype);
    range.lo = table.first;
    range.hi = table.last();
    c.function_first = table.first;
    c.function_entries = static_cast<int64_t>(table.entries.size());
    layer.constants.table = table.entries;
    choose_table_form(table.entries, 2, kTable, kCurve, c.function);
  }
  if (c.function == kNoFunction && residual == nullptr) {
    set_result(c, range);
    return {};
  }
  c.sum_zero_point = range.zero_point;
  c.sum_least = range.lo;
  c.sum_greatest = range.hi;
  set_result(c, full_range(y.dtype, last));
  if (residual == nullptr) return {};
  c.adds_residual = 1;
  c.residual_zero_point = zero_point_of(*residual);
  c.residual_multiplier = bits_of(hai_multiplier_ratio(scale_of(*residual), last.scale));
  c.addend_zero_point = before_add.zero_point;
  c.addend_multiplier = bits_of(hai_multiplier_ratio(before_add.scale, last.scale));
  set_result(c, clamp_range(epilogue.residual_activation, last.scale, full_range(y.dtype, last)));
  layer.reads.push_back({builder.operand(node.inputs[3]), {}});
  return {};
}

}  // namespace hai::sd3403

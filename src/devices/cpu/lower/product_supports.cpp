// The compile-time twin of exec's checks (devices/cpu/exec/product_epilogue.cpp): the same limits, from the graph.
//
// Refusing here lets the compiler place a node elsewhere or say why it cannot; exec checks again, since a program may
// come from a file that this compiler did not write.
#include "devices/cpu/lower/product_supports.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "devices/cpu/lower/supports.h"
#include "types/epilogue.h"

namespace hai::cpu {
namespace {

Status refuse(const ir::Node& node, std::string_view what) {
  return make_error(StatusCode::kUnsupported, "C050", "{} on cpu: {}", node.op, what);
}

bool has_operand(const ir::Node& node, size_t i) { return i < node.inputs.size() && node.inputs[i] != ir::kNone; }

// A stored integer.
int64_t weight_at(const ir::Value& weights, int64_t i) {
  const auto* bytes = reinterpret_cast<const int8_t*>(weights.constant->bytes().data());
  if (weights.type.dtype == DataType::kI16) return reinterpret_cast<const int16_t*>(bytes)[i];
  if (weights.type.dtype == DataType::kI8) return bytes[i];
  if (weights.type.dtype == DataType::kU8) return static_cast<uint8_t>(bytes[i]);
  const int nibble = (static_cast<uint8_t>(bytes[i / 2]) >> (4 * (i % 2))) & 0xf;
  return weights.type.dtype == DataType::kU4 || nibble < 8 ? nibble : nibble - 16;
}

int64_t reach_of(const ir::TensorType& type) {
  const int64_t zero = type.quantization->zero_points[0];
  return std::max(integer_max(type.dtype) - zero, zero - integer_min(type.dtype));
}

// Of sums and biases.
int64_t sum_limit(const ir::TensorType& x) {
  return x.dtype == DataType::kI16 ? (int64_t{1} << 53) - 1 : std::numeric_limits<int32_t>::max();
}

int64_t bias_at(const ir::Graph& graph, const ir::Node& node, size_t channel) {
  if (!has_operand(node, 2)) return 0;
  const ir::Value& bias = graph.value(node.inputs[2]);
  const std::byte* bytes = bias.constant->bytes().data();
  return bias.type.dtype == DataType::kI64 ? reinterpret_cast<const int64_t*>(bytes)[channel]
                                           : reinterpret_cast<const int32_t*>(bytes)[channel];
}

// `sum`: of absolute weights.
Status sum_fits(const ir::Graph& graph, const ir::Node& node, size_t channel, int64_t sum) {
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  const int64_t limit = sum_limit(x);
  const int64_t reach = reach_of(x);
  const int64_t own = bias_at(graph, node, channel);
  if (own <= limit && own >= -limit && sum <= (limit - std::abs(own)) / reach) return {};
  return refuse(node, fmt::format("the sums of channel {}, {} * {} beside a bias of {}, may pass {} bits", channel, sum,
                                  reach, own, x.dtype == DataType::kI16 ? 53 : 31));
}

Status residual_fits(const ir::Graph& graph, const ir::Node& node) {
  if (!has_operand(node, 3)) return {};
  const DataType residual = graph.value(node.inputs[3]).type.dtype;
  const bool wide = graph.value(node.inputs[0]).type.dtype == DataType::kI16;
  if (residual == DataType::kI8 || residual == DataType::kU8 || (wide && residual == DataType::kI16)) return {};
  return refuse(node, "a residual that has more bits than x");
}

// Largest |bias| + sum |q_w - z_w| * max |q - z| over the channels.
Status sums_fit(const ir::Graph& graph, const ir::Node& node, int channel_axis) {
  const ir::Value& weights = graph.value(node.inputs[1]);
  const Dims dims = resolve(weights.type.shape, {});
  int64_t inner = 1;
  for (int axis = channel_axis + 1; axis < dims.rank; ++axis) inner *= dims[axis];
  const int64_t channels = dims[channel_axis];
  std::vector<int64_t> sums(static_cast<size_t>(channels), 0);
  const std::vector<int32_t>& zero_points = weights.type.quantization->zero_points;
  for (int64_t i = 0; i < dims.count(); ++i) {
    const auto channel = static_cast<size_t>(i / inner % channels);
    sums[channel] += std::abs(weight_at(weights, i) - zero_points[zero_points.size() == 1 ? 0 : channel]);
  }
  for (size_t c = 0; c < sums.size(); ++c) HAI_TRY_STATUS(sum_fits(graph, node, c, sums[c]));
  return {};
}

Status multipliers_fit(const ir::Graph& graph, const ir::Node& node, const Epilogue& epilogue,
                       double weight_factor = 1.0) {
  const float s_x = scale_of(graph, node.inputs[0]);
  const Quantization& weights = *graph.value(node.inputs[1]).type.quantization;
  const ir::TensorType& y = graph.value(node.outputs[0]).type;
  float first = 1.0F;
  if (is_integer(y.dtype)) {
    const float last = scale_of(graph, node.outputs[0]);
    const bool adds = has_operand(node, 3);
    const float before_add = adds ? epilogue.pre_residual->scale : last;
    first = epilogue.activation.is_clamp() ? before_add : epilogue.conv->scale;
    if (adds) {
      HAI_TRY_STATUS(supports_multiplier(node, hai_multiplier_ratio(before_add, last)));
      HAI_TRY_STATUS(supports_multiplier(node, hai_multiplier_ratio(scale_of(graph, node.inputs[3]), last)));
    }
  }
  for (const float s_w : weights.scales) {
    const float scale = static_cast<float>(static_cast<double>(s_w) * weight_factor);
    HAI_TRY_STATUS(supports_multiplier(node, hai_multiplier_product(s_x, scale, first)));
  }
  return {};
}

// Where a window meets padding, products of infinite weights would be told apart.
Status supports_halves(const ir::Graph& graph, const ir::Node& node) {
  const ir::Value& weights = graph.value(node.inputs[1]);
  if (node.op == "conv_transpose2d") return refuse(node, "f16");
  if (weights.type.shape.size() != 4 && weights.type.shape.size() != 2)
    return refuse(node, "f16 with a batch of weights");
  const auto* bits = reinterpret_cast<const uint16_t*>(weights.constant->bytes().data());
  const size_t count = weights.constant->bytes().size() / 2;
  const bool finite = std::all_of(bits, bits + count, [](uint16_t half) { return (half & 0x7c00) != 0x7c00; });
  if (!finite) return refuse(node, "f16 weights that are not finite");
  return {};
}

bool varies_in_f32(const ir::Graph& graph, const ir::Node& node) {
  const auto type = [&](size_t i) { return graph.value(node.inputs[i]).type.dtype; };
  if (type(0) != DataType::kF32 || type(1) != DataType::kF32) return false;
  return !graph.value(node.inputs[1]).is_constant() ||
         (has_operand(node, 2) && !graph.value(node.inputs[2]).is_constant());
}

}  // namespace

Status supports_convolution(const ir::Graph& graph, const ir::Node& node) {
  if (varies_in_f32(graph, node)) return {};
  return supports_product(graph, node, 0);
}

Status lower_convolution(LowerContext& context) {
  const ir::Node& node = context.node();
  if (!varies_in_f32(context.graph(), node)) return lower_as_is(context);
  std::vector<uint32_t> inputs;
  for (const ir::ValueId input : node.inputs) inputs.push_back(context.tensor(input));
  context.emit(node.op + "_variable", std::move(inputs), {context.tensor(node.outputs[0])}, node.attributes);
  return {};
}

Status supports_product(const ir::Graph& graph, const ir::Node& node, int channel_axis) {
  const ir::TensorType& x = graph.value(node.inputs[0]).type;
  const ir::Value& weights = graph.value(node.inputs[1]);
  if (!weights.is_constant()) return refuse(node, "the weights must be a constant");
  if (has_operand(node, 2) && !graph.value(node.inputs[2]).is_constant()) {
    return refuse(node, "the bias must be a constant");
  }
  if (x.dtype == DataType::kF32) {
    if (is_integer(weights.type.dtype) && node.op == "matmul" && weights.type.shape.size() != 2) {
      return refuse(node, "integer weights that are no matrix");
    }
    return {};
  }
  if (x.dtype == DataType::kF16) return supports_halves(graph, node);
  if (x.dtype != DataType::kI8 && x.dtype != DataType::kU8 && x.dtype != DataType::kI16) {
    return refuse(node, fmt::format("{} activations; f32, f16, i8, u8 and i16 run here", data_type_name(x.dtype)));
  }
  HAI_TRY_STATUS(residual_fits(graph, node));
  HAI_TRY_STATUS(sums_fit(graph, node, channel_axis));
  HAI_TRY(const Epilogue epilogue, parse_epilogue(node.attributes));
  return multipliers_fit(graph, node, epilogue);
}

Status supports_varying_product(const ir::Graph& graph, const ir::Node& node) {
  HAI_TRY_STATUS(supports_operand(graph, node, 0, ops::kQuantizedTypes));
  HAI_TRY_STATUS(supports_operand(graph, node, 1, ops::kQuantized8));
  if (has_operand(node, 2) && !graph.value(node.inputs[2]).is_constant()) {
    return refuse(node, "the bias must be a constant");
  }
  HAI_TRY_STATUS(residual_fits(graph, node));
  const ir::TensorType& b = graph.value(node.inputs[1]).type;
  const int64_t depth = graph.value(node.inputs[0]).type.shape.back().value;
  const int64_t columns = has_operand(node, 2) ? graph.value(node.inputs[2]).type.shape[0].value : 1;
  for (int64_t c = 0; c < columns; ++c) {
    HAI_TRY_STATUS(sum_fits(graph, node, static_cast<size_t>(c), depth * reach_of(b)));
  }
  HAI_TRY(const Epilogue epilogue, parse_epilogue(node.attributes));
  return multipliers_fit(graph, node, epilogue);
}

Status supports_8bit_product(const ir::Graph& graph, const ir::Node& node, double weight_factor) {
  HAI_TRY_STATUS(supports_operand(graph, node, 0, ops::kQuantized8));
  if (!graph.value(node.inputs[1]).is_constant() ||
      (has_operand(node, 2) && !graph.value(node.inputs[2]).is_constant())) {
    return refuse(node, "weights and bias must be constants");
  }
  HAI_TRY_STATUS(residual_fits(graph, node));
  HAI_TRY(const Epilogue epilogue, parse_epilogue(node.attributes));
  return multipliers_fit(graph, node, epilogue, weight_factor);
}

}  // namespace hai::cpu

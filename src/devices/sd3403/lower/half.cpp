// The epilogue of an f16 product as fields of Convolve, and what of f16 is legal.
//
// A sum has one order (docs/reference/arithmetic.md): a window of several taps cannot be cut along its channels, so
// that the weights of 16 output channels must fit the cache at once; a window of one tap can, and so can the taps of a
// transform, each of which has sums of its own.
#include "devices/sd3403/lower/half.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "types/half.h"
#include "types/unary_functions.h"

namespace hai::sd3403 {
namespace {

// Of a core's weight cache of 128 KiB, less the part for small tables.
constexpr int64_t kMostWeightBytes = 114688 - 8 * kBlockChannels;

int64_t bits_of(float value) { return static_cast<int64_t>(std::bit_cast<uint32_t>(value)); }

bool has_operand(const ir::Node& node, size_t operand) {
  return operand < node.inputs.size() && node.inputs[operand] != ir::kNone;
}

void set_bounds(const HalfBounds& bounds, int64_t& least, int64_t& greatest) {
  least = half_of(bounds.lo);
  greatest = half_of(bounds.hi);
}

// f32 bits; a bias of -0 counts as 0, so that products of 0 never decide the sign of a sum.
std::vector<int64_t> bias_of(const ir::Graph& graph, const ir::Node& node, size_t channels) {
  std::vector<int64_t> bias(channels, 0);
  if (!has_operand(node, 2)) return bias;
  const ir::Value& value = graph.value(node.inputs[2]);
  const std::byte* data = value.constant->bytes().data();
  for (size_t c = 0; c < channels; ++c) {
    const float own = value.type.dtype == DataType::kF32 ? reinterpret_cast<const float*>(data)[c]
                                                         : hai_f16_to_f32(reinterpret_cast<const uint16_t*>(data)[c]);
    bias[c] = static_cast<int32_t>(std::bit_cast<uint32_t>(own + 0.0F));
  }
  return bias;
}

Status require_type(const ir::Graph& graph, const ir::Node& node, ir::ValueId value, DataType dtype) {
  const ir::TensorType& type = graph.value(value).type;
  if (type.dtype != dtype) {
    return refuse(node, fmt::format("{} is {}, not {}", graph.value(value).name, data_type_name(type.dtype),
                                    data_type_name(dtype)));
  }
  return require_shape(graph, node, value);
}

}  // namespace

bool is_half(const ir::TensorType& type) { return type.dtype == DataType::kF16; }

Status require_halves(const ir::Graph& graph, const ir::Node& node, ir::ValueId value) {
  return require_type(graph, node, value, DataType::kF16);
}

Status require_elements(const ir::Graph& graph, const ir::Node& node, ir::ValueId value) {
  return is_half(graph.value(value).type) ? require_shape(graph, node, value) : require_integers(graph, node, value);
}

Status require_reals(const ir::Graph& graph, const ir::Node& node, ir::ValueId value) {
  return is_half(graph.value(value).type) ? require_shape(graph, node, value)
                                          : require_type(graph, node, value, DataType::kF32);
}

std::optional<RealFunction> real_function_of(const Activation& activation) {
  const std::span<const std::string_view> names = choices_of("real_function");
  const std::string_view own = unary_functions()[static_cast<size_t>(activation.function)].name;
  const auto at = std::find(names.begin(), names.end(), own);
  const auto alpha = static_cast<float>(activation.alpha);
  const auto beta = static_cast<float>(activation.beta);
  const bool exact = static_cast<double>(alpha) == activation.alpha && static_cast<double>(beta) == activation.beta;
  if (at == names.end() || !exact) return std::nullopt;
  return RealFunction{at - names.begin(), bits_of(alpha), bits_of(beta)};
}

namespace {

Status check_half_weights(const ir::Graph& graph, const ir::Node& node) {
  if (!is_half(graph.value(node.inputs[1]).type)) return refuse(node, "its weights are not of f16");
  const auto finite = [](int16_t half) { return (half & 0x7c00) != 0x7c00; };
  const std::vector<int16_t> values = half_weights(graph, node);
  return std::all_of(values.begin(), values.end(), finite) ? Status() : refuse(node, "weights that are not finite");
}

Status check_half_function(const ir::Graph&, const ir::Node& node) {
  HAI_TRY(const Epilogue epilogue, parse_epilogue(node.attributes));
  if (epilogue.activation.is_clamp() || real_function_of(epilogue.activation)) return {};
  return refuse(node, "a function that it does not have in f16, or parameters that are no f32");
}

Status check_half_window(const ir::Graph& graph, const ir::Node& node) {
  const Shape& shape = graph.value(node.inputs[1]).type.shape;
  if (shape.size() != 4 || shape[1].value * shape[2].value == 1 || node.op == "winograd_conv2d") return {};
  const int64_t bytes = 2 * kBlockChannels * shape[1].value * shape[2].value * shape[3].value;
  if (bytes <= kMostWeightBytes) return {};
  return refuse(node,
                fmt::format("sums of f16 keep their order, so that weights of 16 channels, {} bytes, must fit the "
                            "weight cache at once: {}",
                            bytes, kMostWeightBytes));
}

}  // namespace

Rules half_product_rules() {
  return {takes(0, Types::kHalves),
          takes(kResult, Types::kHalves),
          constant(1),
          checked("weights of f16, all finite", check_half_weights),
          constant(2),
          takes(3, Types::kHalves),
          checked("a function of the machine's, whose parameters are f32", check_half_function),
          checked("a window whose weights of 16 channels fit the weight cache", check_half_window)};
}

std::vector<int16_t> half_weights(const ir::Graph& graph, const ir::Node& node) {
  const std::span<const std::byte> bytes = graph.value(node.inputs[1]).constant->bytes();
  const auto* bits = reinterpret_cast<const int16_t*>(bytes.data());
  return {bits, bits + bytes.size() / 2};
}

Status finish_half_product(SegmentBuilder& builder, Layer& layer) {
  const ir::Graph& graph = builder.graph();
  const ir::Node& node = builder.node();
  auto& c = std::get<Convolve>(layer.body);
  c.weights = kWeightF16;
  c.first_sum = c.last_sum = 1;
  layer.writes = builder.result(node.outputs[0]);
  const auto channels = static_cast<size_t>(layer.writes.channels);
  layer.constants.bias = bias_of(graph, node, channels);
  layer.constants.multipliers.assign(channels, 0.0F);
  HAI_TRY(const Epilogue epilogue, parse_epilogue(node.attributes));
  c.adds_residual = has_operand(node, 3) ? 1 : 0;
  HalfBounds first;
  if (epilogue.activation.is_clamp()) {
    first = half_bounds(epilogue.activation);
  } else {
    const RealFunction function = *real_function_of(epilogue.activation);
    c.function = kReal;
    c.real_function = function.number;
    c.real_alpha = function.alpha;
    c.real_beta = function.beta;
  }
  set_bounds(first, c.sum_least, c.sum_greatest);
  const bool twice = c.function != kNoFunction || c.adds_residual != 0;
  set_bounds(twice ? half_bounds(epilogue.residual_activation) : first, c.least, c.greatest);
  if (c.adds_residual != 0) layer.reads.push_back({builder.operand(node.inputs[3]), {}});
  return {};
}

}  // namespace hai::sd3403

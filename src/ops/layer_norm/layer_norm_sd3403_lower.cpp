// layer_norm of quantized tensors on the NPU: scale and bias, in steps of the result, lie in the weight cache.
//
// More channels than half of the product's weight cache has parameters for stay on the CPU.
#include <fmt/format.h>

#include <cmath>
#include <span>

#include "devices/sd3403/lower/segment_builder.h"
#include "types/arithmetic.h"
#include "types/exact_math.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostParameterBytes = 65536;

// In steps of the result; 0 where there is no bias.
float parameter(const ir::Graph& graph, const ir::Node& node, size_t operand, int64_t channel) {
  if (operand >= node.inputs.size() || node.inputs[operand] == ir::kNone) return 0.0F;
  const std::byte* data = graph.value(node.inputs[operand]).constant->bytes().data();
  return hai_layer_norm_parameter(reinterpret_cast<const float*>(data)[channel],
                                  scale_of(graph.value(node.outputs[0]).type));
}

Status check_size(const ir::Graph& graph, const ir::Node& node) {
  const int64_t channels = graph.value(node.outputs[0]).type.shape.back().value;
  if (layer_norm_bytes(channels) <= kMostParameterBytes) return {};
  return refuse(node, fmt::format("the parameters of {} channels; {} bytes fit", channels, kMostParameterBytes));
}

Status check_parameters(const ir::Graph& graph, const ir::Node& node) {
  const int64_t channels = graph.value(node.outputs[0]).type.shape.back().value;
  for (size_t operand = 1; operand < node.inputs.size(); ++operand) {
    if (node.inputs[operand] == ir::kNone) continue;
    for (int64_t c = 0; c < channels; ++c) {
      if (std::isfinite(parameter(graph, node, operand, c))) continue;
      return refuse(node, fmt::format("its scale or bias of channel {} is no finite number of steps", c));
    }
  }
  return {};
}

Legality legality() {
  return {{.rules = {takes(0, Types::kIntegers), takes(kResult, Types::kIntegers), rank(kResult, 2, kMaxRank),
                     checked("parameters of all channels within their table", check_size), constant(1), constant(2),
                     checked("finite parameters", check_parameters)}}};
}

template <typename T>
void append(std::vector<std::byte>& to, T value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Status lower(SegmentBuilder& builder) {
  const ir::Node& node = builder.node();
  const ir::TensorType& y = builder.type(node.outputs[0]);
  Layer layer;
  Slice in = builder.operand(node.inputs[0]);
  layer.writes = builder.result(node.outputs[0]);
  builder.even_rows(node.inputs[0], in, node.outputs[0], layer.writes);
  layer.reads = {{in, {}}};
  LayerNorm c;
  c.columns = layer.writes.columns;
  c.channels = layer.writes.channels;
  c.zero_point = zero_point_of(y);
  c.least = integer_min(y.dtype);
  c.greatest = integer_max(y.dtype);
  layer.body = c;
  const double epsilon = node.float_attribute("epsilon", 1e-5);
  append(layer.constants.parameters,
         hai_layer_norm_epsilon(epsilon, c.channels, scale_of(builder.type(node.inputs[0]))));
  for (int64_t channel = 0; channel < c.channels; ++channel) {
    append(layer.constants.parameters, parameter(builder.graph(), node, 1, channel));
    append(layer.constants.parameters, parameter(builder.graph(), node, 2, channel));
  }
  layer.by_channels = false;
  builder.add(std::move(layer));
  return {};
}

}  // namespace

void register_layer_norm_lower(LowerRegistry& registry);
void register_layer_norm_lower(LowerRegistry& registry) { registry.add("layer_norm", {legality(), lower}); }

}  // namespace hai::sd3403

// Splicing layers of two quantized graphs.
//
// Both graphs come from one float graph and the same samples, so tensors have the same names and scales; what differs
// is the weights. A layer at 4 bits is the 8-bit graph with that layer's weights and bias of the 4-bit one: learned
// rounding is paid for once and used in every candidate. The bias is brought to s_x * s_w of where it lands, in case a
// scale was raised in one of them. Invariant: the result passes ops::verify.
#include "quantizer/precision_mix.h"

#include <algorithm>
#include <cmath>

#include "ops/build.h"
#include "ops/work.h"
#include "quantizer/graph_pairing.h"

namespace hai::quantizer {
namespace {

constexpr double kBiasLimit = 1073741824.0;  // 2^30
constexpr double kSameScale = 1e-3;

ir::NodeId producer_of(const ir::Graph& graph, const std::string& output) {
  const auto value = graph.find_value(output);
  return value ? graph.value(*value).producer : ir::kNone;
}

bool has_bits(const ir::Graph& graph, const ir::Node& node, int bits) {
  if (!has_weights(graph, node)) return false;
  const ir::TensorType& type = graph.value(node.inputs[1]).type;
  return type.quantization.has_value() && bit_width(type.dtype) == bits;
}

bool same_type(const ir::TensorType& x, const ir::TensorType& y) {
  if (x.dtype != y.dtype || x.quantization.has_value() != y.quantization.has_value()) return false;
  if (!x.quantization) return true;
  const double s = static_cast<double>(x.quantization->scales[0]);
  const double t = static_cast<double>(y.quantization->scales[0]);
  return x.quantization->zero_points == y.quantization->zero_points && std::abs(s - t) <= kSameScale * s;
}

bool same_input(const ir::Graph& a, const ir::Node& left, const ir::Graph& b, const ir::Node& right) {
  return same_type(a.value(left.inputs[0]).type, b.value(right.inputs[0]).type);
}

bool same_output(const ir::Graph& a, const ir::Node& left, const ir::Graph& b, const ir::Node& right) {
  return same_type(a.value(left.outputs[0]).type, b.value(right.outputs[0]).type);
}

// The donor's bias in steps of input scale times weight scale at its new place.
Result<ir::ValueId> move_bias(ir::Graph& graph, const ir::Node& node, const ir::Value& donor,
                              const Quantization& weights) {
  HAI_TRY(const std::vector<float> real, real_values(donor));
  const ir::TensorType& input = graph.value(node.inputs[0]).type;
  if (donor.type.dtype != DataType::kI32 || !input.quantization) {
    return graph.add_constant(donor.name, donor.type, donor.constant);  // f32 of a weight-only layer
  }
  Quantization quantization{{}, std::vector<int32_t>(real.size(), 0), 0, 0};
  auto data = ir::ConstantData::allocate(real.size() * sizeof(int32_t));
  auto* values = reinterpret_cast<int32_t*>(data->mutable_bytes().data());
  for (size_t c = 0; c < real.size(); ++c) {
    const double scale = static_cast<double>(input.quantization->scales[0]) *
                         static_cast<double>(weights.scales[std::min(c, weights.scales.size() - 1)]);
    values[c] =
        static_cast<int32_t>(std::clamp(std::nearbyint(static_cast<double>(real[c]) / scale), -kBiasLimit, kBiasLimit));
    quantization.scales.push_back(static_cast<float>(scale));
  }
  return graph.add_constant(donor.name, {DataType::kI32, donor.type.shape, std::move(quantization)}, std::move(data));
}

}  // namespace

Result<std::vector<MixableLayer>> PrecisionMix::layers() const {
  HAI_TRY(const std::vector<ir::NodeId> order, eight_.ordered());
  std::vector<MixableLayer> layers;
  std::set<std::string> fixed;
  for (const ir::NodeId id : order) {
    const ir::Node& node = eight_.node(id);
    if (!has_weights(eight_, node)) continue;
    const std::string& output = eight_.value(node.outputs[0]).name;
    const ir::NodeId donor = producer_of(four_, output);
    const bool mixable = has_bits(eight_, node, 8) && donor != ir::kNone && four_.node(donor).op == node.op &&
                         has_bits(four_, four_.node(donor), 4) && same_input(eight_, node, four_, four_.node(donor));
    if (!mixable) {
      fixed.insert(node.name);
      continue;
    }
    const auto same_name = [&](const MixableLayer& layer) { return layer.name == node.name; };
    auto layer = std::find_if(layers.begin(), layers.end(), same_name);
    if (layer == layers.end()) layer = layers.insert(layers.end(), MixableLayer{node.name, {}, 0, 0});
    layer->outputs.push_back(output);
    layer->macs += ops::macs_of(eight_, node);
    layer->weights += element_count(eight_.value(node.inputs[1]).type.shape)->value;
  }
  std::erase_if(layers, [&](const MixableLayer& layer) { return fixed.count(layer.name) > 0; });
  return layers;
}

Result<ir::Graph> PrecisionMix::with_four_bits(const ir::Graph& base, const std::set<std::string>& outputs) const {
  ir::Graph graph = base;
  for (const std::string& output : outputs) {
    const ir::NodeId id = producer_of(graph, output);
    const ir::NodeId donor_id = producer_of(four_, output);
    if (id == ir::kNone || donor_id == ir::kNone) continue;
    const ir::Node node = graph.node(id);
    const ir::Node& donor = four_.node(donor_id);
    if (!same_input(graph, node, four_, donor) || !same_output(graph, node, four_, donor)) continue;
    const ir::Value& weights = four_.value(donor.inputs[1]);
    graph.set_input(id, 1, graph.add_constant(weights.name, weights.type, weights.constant));
    if (donor.inputs.size() > 2 && donor.inputs[2] != ir::kNone && node.inputs.size() > 2) {
      HAI_TRY(const ir::ValueId bias, move_bias(graph, node, four_.value(donor.inputs[2]), *weights.type.quantization));
      graph.set_input(id, 2, bias);
    }
  }
  graph.erase_dead();
  HAI_TRY_STATUS(ops::verify(graph));
  return graph;
}

}  // namespace hai::quantizer

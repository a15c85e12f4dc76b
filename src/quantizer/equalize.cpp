// Cross-layer equalization, and SmoothQuant's scaling behind a normalization.
//
// Method: the channels of a tensor are divided by s, the weights that read them multiplied: the same function, since
// what lies between scales with its input (Nagel et al., "Data-Free Quantization through Weight Equalization and Bias
// Correction", ICCV 2019, section 4.1; behind a normalization: Xiao et al., "SmoothQuant", ICML 2023). There, s
// balances the ranges of weights with one scale a tensor. Here weights have one scale an output channel, so what counts
// is the tensor itself: s = a^alpha / w^(1 - alpha) from the magnitudes a of its channels and w of the weights that
// read them, as in SmoothQuant; for each tensor the alpha of least expected noise is taken (rounding noise of the
// tensor through the weights, and of the weights through the tensor), and none where the noise does not fall by a
// tenth. Between layers quiet channels keep three bits of headroom below the loudest.
#include "quantizer/equalize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string_view>

#include "quantizer/weights.h"

namespace hai::quantizer {
namespace {

constexpr double kWorthwhile = 0.9;  // noise after over noise before
// Between layers, the largest size that a channel is raised to, as a part of the loudest one's.
constexpr double kHeadroom = 0.125;
constexpr double kLargestScale = 256.0;

bool is_constant_f32(const ir::Graph& graph, const ir::Node& node, size_t operand) {
  if (node.inputs.size() <= operand || node.inputs[operand] == ir::kNone) return false;
  const ir::Value& value = graph.value(node.inputs[operand]);
  return value.is_constant() && value.type.dtype == DataType::kF32;
}

bool is_layer(const ir::Graph& graph, const ir::Node& node) {
  if (node.op != "conv2d" && node.op != "matmul") return false;
  if (node.string_attribute("activation", "none") != "none" || node.inputs.size() > 3) return false;
  if (!is_constant_f32(graph, node, 1)) return false;
  if (node.inputs.size() > 2 && node.inputs[2] != ir::kNone && !is_constant_f32(graph, node, 2)) return false;
  return node.op == "conv2d" || graph.value(node.inputs[1]).type.shape.size() == 2;
}

int64_t last_size(const ir::Graph& graph, ir::ValueId value) {
  const Shape& shape = graph.value(value).type.shape;
  return shape.empty() || shape.back().is_symbolic() ? 0 : shape.back().value;
}

// add or mul of a value and a constant vector along the last axis.
bool is_affine(const ir::Graph& graph, const ir::Node& node) {
  if (node.op != "mul" && node.op != "add") return false;
  for (size_t operand = 0; operand < 2; ++operand) {
    if (is_constant_f32(graph, node, operand) && !graph.value(node.inputs[1 - operand]).is_constant()) {
      const Shape& shape = graph.value(node.inputs[operand]).type.shape;
      const int64_t channels = last_size(graph, node.outputs[0]);
      return channels > 1 && !shape.empty() && shape.back() == Dim(channels) &&
             element_count(shape) == std::optional<Dim>(Dim(channels));
    }
  }
  return false;
}

// A normalization with constant scale and bias.
bool is_normalization(const ir::Graph& graph, const ir::Node& node) {
  return node.op == "layer_norm" && is_constant_f32(graph, node, 1) &&
         (node.inputs.size() < 3 || node.inputs[2] == ir::kNone || is_constant_f32(graph, node, 2));
}

// Multiplying a channel (along the last axis) of the input multiplies that of the output and nothing else. Movers
// belong here as long as channels stay last: attention turns its input round before it reads it.
bool scales_with_input(const ir::Graph& graph, const ir::Node& node) {
  constexpr std::array<std::string_view, 8> kOps = {"relu",   "leaky_relu", "max_pool", "average_pool",
                                                    "resize", "pad",        "reshape",  "transpose"};
  if (std::find(kOps.begin(), kOps.end(), node.op) == kOps.end()) return false;
  const int64_t channels = last_size(graph, node.inputs[0]);
  if (channels == 0 || channels != last_size(graph, node.outputs[0])) return false;
  if (node.op == "transpose") {
    const std::vector<int64_t> permutation = node.ints_attribute("permutation", {});
    return !permutation.empty() && permutation.back() + 1 == static_cast<int64_t>(permutation.size());
  }
  return node.op != "pad" ||
         (node.string_attribute("mode", "constant") == "constant" && node.float_attribute("value", 0.0) == 0.0);
}

// The weights that read channel c of a layer's input: (channel of the input) of each element.
struct InputLayout {
  std::string_view op;
  int64_t per_group = 1;  // conv2d: input channels a group
  int64_t outputs_a_group = 1;
  int64_t outer = 1;  // conv2d: elements an output channel; matmul: columns
  bool rows_are_inputs = false;

  size_t input_of(size_t i) const {
    const auto element = static_cast<int64_t>(i);
    if (op == "conv2d") return static_cast<size_t>(element / outer / outputs_a_group * per_group + element % per_group);
    return static_cast<size_t>(rows_are_inputs ? element / outer : element % outer);
  }
};

InputLayout input_layout(const ir::Graph& graph, const ir::Node& node) {
  const Shape& shape = graph.value(node.inputs[1]).type.shape;
  InputLayout layout;
  layout.op = node.op;
  if (node.op == "conv2d") {
    layout.per_group = shape[3].value;
    layout.outputs_a_group = shape[0].value / node.int_attribute("groups", 1);
    layout.outer = shape[1].value * shape[2].value * shape[3].value;
  } else {
    layout.rows_are_inputs = node.int_attribute("transpose_b", 0) == 0;
    layout.outer = shape[1].value;
  }
  return layout;
}

void replace_constant(ir::Graph& graph, ir::NodeId node, size_t operand, const std::vector<float>& values) {
  const ir::Value& old = graph.value(graph.node(node).inputs[operand]);
  const ir::TensorType type = old.type;
  const std::string name = old.name;
  auto data = ir::ConstantData::copy_of(std::as_bytes(std::span(values)));
  const ir::ValueId fresh = graph.add_constant(name, type, std::move(data));
  graph.set_input(node, operand, fresh);
}

std::vector<float> copy_of(const ir::Graph& graph, const ir::Node& node, size_t operand) {
  const auto values = floats_of(graph.value(node.inputs[operand]));
  return {values.begin(), values.end()};
}

void divide_vector(ir::Graph& graph, ir::NodeId id, size_t operand, const std::vector<double>& scales) {
  std::vector<float> vector = copy_of(graph, graph.node(id), operand);
  for (size_t c = 0; c < vector.size(); ++c) vector[c] = static_cast<float>(static_cast<double>(vector[c]) / scales[c]);
  replace_constant(graph, id, operand, vector);
}

// Divides what a node hands out, channel by channel.
void divide_outputs(ir::Graph& graph, ir::NodeId id, const std::vector<double>& scales) {
  const ir::Node node = graph.node(id);
  if (is_layer(graph, node)) {
    std::vector<float> weights = copy_of(graph, node, 1);
    const ChannelLayout layout = layout_of(node, graph.value(node.inputs[1]).type.shape);
    for (size_t i = 0; i < weights.size(); ++i)
      weights[i] = static_cast<float>(static_cast<double>(weights[i]) / scales[layout.channel_of(i)]);
    replace_constant(graph, id, 1, weights);
    if (node.inputs.size() > 2 && node.inputs[2] != ir::kNone) divide_vector(graph, id, 2, scales);
    return;
  }
  if (is_normalization(graph, node)) {
    for (size_t operand = 1; operand < node.inputs.size(); ++operand) {
      if (node.inputs[operand] != ir::kNone) divide_vector(graph, id, operand, scales);
    }
    return;
  }
  const size_t operand = is_constant_f32(graph, node, 0) ? 0 : 1;
  divide_vector(graph, id, operand, scales);
  if (node.op == "add") divide_outputs(graph, graph.value(node.inputs[1 - operand]).producer, scales);
}

void multiply_inputs(ir::Graph& graph, ir::NodeId id, const std::vector<double>& scales) {
  const InputLayout layout = input_layout(graph, graph.node(id));
  std::vector<float> weights = copy_of(graph, graph.node(id), 1);
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = static_cast<float>(static_cast<double>(weights[i]) * scales[layout.input_of(i)]);
  replace_constant(graph, id, 1, weights);
}

struct Channels {
  std::vector<double> largest;  // magnitudes of the tensor
  std::vector<double> squares;  // means
  std::vector<double> weights;  // largest weight that reads the channel
};

// Expected noise of all results of a layer, up to a factor: of the tensor, rounded at one scale, and of the weights,
// rounded at one an output channel.
double noise_of(const ir::Graph& graph, ir::NodeId id, const Channels& channels, const std::vector<double>& scales) {
  const ir::Node& node = graph.node(id);
  const auto weights = floats_of(graph.value(node.inputs[1]));
  const InputLayout inputs = input_layout(graph, node);
  const ChannelLayout outputs = layout_of(node, graph.value(node.inputs[1]).type.shape);
  double step = 0;
  for (size_t c = 0; c < scales.size(); ++c) step = std::max(step, channels.largest[c] / scales[c]);
  step /= 255.0;
  std::vector<double> largest(static_cast<size_t>(outputs.channels), 0.0);
  std::vector<double> energy(static_cast<size_t>(outputs.channels), 0.0);
  double noise = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const size_t c = inputs.input_of(i);
    const size_t o = outputs.channel_of(i);
    const double w = std::abs(static_cast<double>(weights[i])) * scales[c];
    noise += step * step * w * w;
    largest[o] = std::max(largest[o], w);
    energy[o] += channels.squares[c] / (scales[c] * scales[c]);
  }
  for (size_t o = 0; o < largest.size(); ++o) noise += largest[o] * largest[o] / (127.0 * 127.0) * energy[o];
  return noise;
}

std::vector<double> scales_for(const Channels& channels, double alpha) {
  std::vector<double> scales(channels.largest.size(), 1.0);
  double log_sum = 0;
  double count = 0;
  for (size_t c = 0; c < scales.size(); ++c) {
    if (channels.largest[c] <= 0 || channels.weights[c] <= 0) continue;  // dead either way: stays
    scales[c] = std::pow(channels.largest[c], alpha) / std::pow(channels.weights[c], 1.0 - alpha);
    log_sum += std::log(scales[c]);
    count += 1;
  }
  const double mean = count > 0 ? std::exp(log_sum / count) : 1.0;
  for (size_t c = 0; c < scales.size(); ++c) {
    const bool dead = channels.largest[c] <= 0 || channels.weights[c] <= 0;
    scales[c] = dead ? 1.0 : std::clamp(scales[c] / mean, 1.0 / kLargestScale, kLargestScale);
  }
  return scales;
}

// Quiet channels are raised up to a part of the loudest, no further: calibration saw the largest values of few samples,
// and a channel at the edge of the range saturates on the next.
void keep_headroom(const Channels& channels, std::vector<double>& scales) {
  const auto loudest = static_cast<size_t>(std::max_element(channels.largest.begin(), channels.largest.end()) -
                                           channels.largest.begin());
  const double range = channels.largest[loudest] / scales[loudest];
  for (size_t c = 0; c < scales.size(); ++c) {
    if (channels.largest[c] <= 0 || channels.weights[c] <= 0) continue;
    const double most = range * std::max(channels.largest[c] / channels.largest[loudest], kHeadroom);
    if (c != loudest && channels.largest[c] / scales[c] > most) scales[c] = channels.largest[c] / most;
  }
}

// Empty when nothing is gained.
std::vector<double> scale_one(ir::Graph& graph, const ScalableTensor& tensor, const RangeObserver& seen) {
  Channels channels;
  for (const float x : seen.channel_largest()) channels.largest.push_back(static_cast<double>(x));
  channels.squares = seen.channel_squares();
  channels.weights.assign(channels.largest.size(), 0.0);
  for (const ir::NodeId id : tensor.consumers) {
    const InputLayout layout = input_layout(graph, graph.node(id));
    const auto weights = floats_of(graph.value(graph.node(id).inputs[1]));
    for (size_t i = 0; i < weights.size(); ++i) {
      double& slot = channels.weights[layout.input_of(i)];
      slot = std::max(slot, std::abs(static_cast<double>(weights[i])));
    }
  }
  const auto noise = [&](const std::vector<double>& scales) {
    double sum = 0;
    for (const ir::NodeId id : tensor.consumers) sum += noise_of(graph, id, channels, scales);
    return sum;
  };
  const double before = noise(std::vector<double>(channels.largest.size(), 1.0));
  double least = before * kWorthwhile;
  std::vector<double> best;
  for (const double alpha : {0.25, 0.5, 0.75, 1.0}) {
    std::vector<double> scales = scales_for(channels, alpha);
    if (!tensor.affine) keep_headroom(channels, scales);  // a normalization bounds its channels itself
    const double after = noise(scales);
    if (!(after < least)) continue;
    least = after;
    best = std::move(scales);
  }
  if (best.empty()) return best;
  divide_outputs(graph, tensor.producer, best);
  for (const ir::NodeId id : tensor.consumers) multiply_inputs(graph, id, best);
  return best;
}

// What divides a value: a layer, or the affine end of a normalization; kNone when nothing can.
ir::NodeId dividing_producer(const ir::Graph& graph, ir::ValueId value, bool& affine) {
  const auto only_reader = [&](ir::ValueId v) { return graph.value(v).uses.size() == 1 && !graph.is_output(v); };
  for (ir::ValueId at = value;;) {
    const ir::NodeId id = graph.value(at).producer;
    if (id == ir::kNone) return ir::kNone;
    const ir::Node& node = graph.node(id);
    if (is_layer(graph, node)) return id;
    if (is_normalization(graph, node)) {
      affine = true;
      return id;
    }
    if (is_affine(graph, node)) {
      affine = true;
      if (node.op == "mul") return id;
      const ir::ValueId inner = node.inputs[is_constant_f32(graph, node, 0) ? 1 : 0];
      const ir::NodeId scale = graph.value(inner).producer;
      const bool pair = scale != ir::kNone && only_reader(inner) && graph.node(scale).op == "mul" &&
                        is_affine(graph, graph.node(scale));
      return pair ? id : ir::kNone;
    }
    if (!scales_with_input(graph, node) || !only_reader(node.inputs[0])) return ir::kNone;
    at = node.inputs[0];
  }
}

}  // namespace

Result<std::vector<ScalableTensor>> scalable_tensors(const ir::Graph& graph) {
  std::vector<ScalableTensor> out;
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  std::vector<bool> done(graph.value_slots(), false);
  for (const ir::NodeId id : order) {
    const ir::Node& node = graph.node(id);
    if (!is_layer(graph, node)) continue;
    const ir::ValueId value = node.inputs[0];
    if (done[value] || graph.is_output(value) || graph.is_input(value)) continue;
    done[value] = true;
    ScalableTensor tensor;
    tensor.value = value;
    for (const ir::Use& use : graph.value(value).uses) {
      if (use.operand != 0 || !is_layer(graph, graph.node(use.node))) tensor.consumers.clear();
      if (use.operand != 0 || !is_layer(graph, graph.node(use.node))) break;
      tensor.consumers.push_back(use.node);
    }
    if (tensor.consumers.size() != graph.value(value).uses.size()) continue;
    tensor.producer = dividing_producer(graph, value, tensor.affine);
    if (tensor.producer == ir::kNone || last_size(graph, value) < 2) continue;
    if (last_size(graph, graph.node(tensor.producer).outputs[0]) != last_size(graph, value)) continue;
    out.push_back(std::move(tensor));
  }
  return out;
}

Result<ChannelScales> equalize(ir::Graph& graph, const std::vector<ScalableTensor>& tensors, const Observations& seen) {
  ChannelScales scaled;
  for (const ScalableTensor& tensor : tensors) {
    const auto observed = seen.find(tensor.value);
    if (observed == seen.end() || observed->second.channel_largest().empty()) continue;
    std::vector<double> scales = scale_one(graph, tensor, observed->second);
    if (!scales.empty()) scaled[graph.value(graph.node(tensor.producer).outputs[0]).name] = std::move(scales);
  }
  graph.erase_dead();
  return scaled;
}

}  // namespace hai::quantizer

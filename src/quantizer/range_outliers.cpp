// The automatic detector of range outliers.
//
// Method: rounding a tensor to steps of s adds noise of variance s^2 / 12 to each element, uncorrelated. Through the
// weights of an output channel it becomes s^2 / 12 * sum of w^2; the signal there has the variance of the inputs,
// weighted likewise. The mean over output channels of their ratio sees what a figure over the whole tensor hides: one
// loud channel sets the scale, and a depthwise layer passes the quiet ones on as noise. Where the ratio is above the
// limit the layer gets 16-bit activations. The layers that feed it stay as they are: their 32-bit sums are stored in 16
// bits (decision 0010). Layers that are not much more than noise get them always, others while they are few.
#include "quantizer/range_outliers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ops/build.h"
#include "quantizer/weights.h"

namespace hai::quantizer {
namespace {

constexpr double kNoiseLimitDb = -25.0;
constexpr double kRuinedDb = -12.0;     // noise of a quarter of the signal's size: 16 bits, whatever they cost
constexpr double kLargestShare = 0.15;  // of the multiply-accumulates

size_t input_channel(const ir::Node& node, const Shape& shape, const ChannelLayout& layout, size_t i) {
  const size_t output = layout.channel_of(i);
  if (node.op == "conv2d") {
    const auto per_group = static_cast<size_t>(shape[3].value);
    const auto groups = static_cast<size_t>(node.int_attribute("groups", 1));
    return output / (static_cast<size_t>(layout.channels) / groups) * per_group + i % per_group;
  }
  return layout.inner > 1 ? i % static_cast<size_t>(layout.inner) : i / static_cast<size_t>(layout.channels);
}

double noise_of(const ir::Graph& graph, const ir::Node& node, const RangeObserver& seen, double step) {
  const ir::Value& weights = graph.value(node.inputs[1]);
  const ChannelLayout layout = layout_of(node, weights.type.shape);
  const std::vector<double> squares = seen.channel_squares();
  const std::vector<float> means = seen.channel_means();
  std::vector<double> noise(static_cast<size_t>(layout.channels), 0.0);
  std::vector<double> signal(static_cast<size_t>(layout.channels), 0.0);
  const auto values = floats_of(weights);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t c = input_channel(node, weights.type.shape, layout, i);
    const auto w = static_cast<double>(values[i]);
    const auto mean = static_cast<double>(means[c]);
    noise[layout.channel_of(i)] += w * w * step * step / 12.0;
    signal[layout.channel_of(i)] += w * w * std::max(squares[c] - mean * mean, 0.0);
  }
  double sum = 0;
  double count = 0;
  for (size_t o = 0; o < noise.size(); ++o) {
    if (signal[o] <= 0) continue;  // a dead channel
    sum += std::min(noise[o] / signal[o], 1.0);
    count += 1;
  }
  return count > 0 && sum > 0 ? 10 * std::log10(sum / count) : -300.0;
}

int64_t macs_of(const ir::Graph& graph, const ir::Node& node) {
  int64_t macs = 1;
  for (const Dim& dim : graph.value(node.outputs[0]).type.shape) macs *= std::max<int64_t>(dim.value, 1);
  const Shape& weights = graph.value(node.inputs[1]).type.shape;
  const ChannelLayout layout = layout_of(node, weights);
  int64_t elements = 1;
  for (const Dim& dim : weights) elements *= dim.value;
  return macs * (elements / std::max<int64_t>(layout.channels, 1));
}

}  // namespace

Result<std::vector<InputNoise>> input_noises(const ir::Graph& graph, const Plan& plan, const Ranges& ranges,
                                             const Observations& observations) {
  std::vector<InputNoise> out;
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    const ir::Node& node = graph.node(id);
    if (!plan.integer[id] || plan.roles[id] != Role::kMac || node.op == "conv_transpose2d") continue;
    const auto seen = observations.find(node.inputs[0]);
    if (seen == observations.end() || seen->second.channel_largest().empty()) continue;
    const int bits = plan.precision[id].activation_bits;
    const auto step = static_cast<double>(ranges.of(plan, node.inputs[0], bits).scales[0]);
    out.push_back({id, noise_of(graph, node, seen->second, step)});
  }
  return out;
}

Widening layers_to_widen(const ir::Graph& graph, const Plan& plan, const std::vector<InputNoise>& noises) {
  std::vector<InputNoise> worst;
  std::vector<ir::NodeId> heads;
  int64_t total = 0;
  for (const InputNoise& noise : noises) {
    total += macs_of(graph, graph.node(noise.node));
    if (plan.precision[noise.node] != Precision{}) continue;
    if (noise.noise_db > kNoiseLimitDb) worst.push_back(noise);
    if (plan.float_result[noise.node]) heads.push_back(noise.node);
  }
  std::stable_sort(worst.begin(), worst.end(),
                   [](const InputNoise& a, const InputNoise& b) { return a.noise_db > b.noise_db; });
  Widening out;
  double macs = 0;
  const auto choose = [&](std::vector<ir::NodeId> wanted, bool whatever) {
    std::erase_if(
        wanted, [&](ir::NodeId id) { return std::find(out.layers.begin(), out.layers.end(), id) != out.layers.end(); });
    double more = 0;
    for (const ir::NodeId id : wanted) more += static_cast<double>(macs_of(graph, graph.node(id)));
    if (!whatever && macs + more > kLargestShare * static_cast<double>(total)) return false;
    macs += more;
    out.layers.insert(out.layers.end(), wanted.begin(), wanted.end());
    return true;
  };
  for (const InputNoise& noise : worst) {
    if (!choose({noise.node}, noise.noise_db > kRuinedDb)) out.left.push_back(noise);
  }
  if (heads.size() > 1) choose(std::move(heads), false);
  return out;
}

Warning to_warning(const ir::Graph& graph, const InputNoise& left) {
  const std::string& name = graph.node(left.node).name;
  return {
      "coarse_input", name,
      fmt::format("8 bits of its input add noise of {:.0f} dB to its results, but with it more than {:.0f} % of the "
                  "model's multiply-accumulates would have 16",
                  left.noise_db, 100 * kLargestShare),
      fmt::format("give it 16 bits (layers: \"{}\": \"w8a16\") where they are worth their time", name)};
}

}  // namespace hai::quantizer

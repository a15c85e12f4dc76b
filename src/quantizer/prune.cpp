// Magnitude pruning, adapted to each output channel.
//
// Method: the score of a weight is its square over the sum of squares of the weights of its output channel that are at
// least as large: layer-adaptive magnitude pruning (Lee et al., LAMP, ICLR 2021), with channels in the place of layers.
// The lowest scores of the network go. Why channels: folding BatchNorm has multiplied each by a number of its own, so
// that magnitudes compare within a channel only; and a depthwise channel of nine weights, each of which carries a ninth
// of the signal, is left alone by itself. A channel's largest weight has score 1, so that none dies. It removes single
// weights: nothing becomes smaller or faster but the file (weights are compressed).
#include "quantizer/prune.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "quantizer/compiled_graph.h"
#include "quantizer/weights.h"

namespace hai::quantizer {
namespace {

struct Layer {
  ir::NodeId node = 0;
  ir::ValueId weights = 0;
  ChannelLayout layout;
};

bool is_layer(const ir::Graph& graph, const ir::Node& node) {
  if (!node.alive || (node.op != "conv2d" && node.op != "conv_transpose2d" && node.op != "matmul")) return false;
  const ir::Value& weights = graph.value(node.inputs[1]);
  return weights.is_constant() && weights.type.dtype == DataType::kF32 && !weights.type.shape.empty();
}

// Each different constant once.
std::vector<Layer> layers_of(const ir::Graph& graph) {
  std::vector<Layer> layers;
  std::set<ir::ValueId> seen;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    const ir::Node& node = graph.node(id);
    if (!is_layer(graph, node) || !seen.insert(node.inputs[1]).second) continue;
    layers.push_back({id, node.inputs[1], layout_of(node, graph.value(node.inputs[1]).type.shape)});
  }
  return layers;
}

// By channel, positions from the smallest magnitude to the largest; score = w^2 / (sum of squares from there on).
std::vector<float> scores_of(std::span<const float> weights, const ChannelLayout& layout) {
  std::vector<std::vector<uint32_t>> channels(static_cast<size_t>(layout.channels));
  for (size_t i = 0; i < weights.size(); ++i) channels[layout.channel_of(i)].push_back(static_cast<uint32_t>(i));
  std::vector<float> scores(weights.size(), 0.0F);
  for (std::vector<uint32_t>& channel : channels) {
    std::sort(channel.begin(), channel.end(), [&](uint32_t a, uint32_t b) {
      const float left = std::abs(weights[a]);
      const float right = std::abs(weights[b]);
      return left != right ? left < right : a > b;
    });
    double sum = 0;
    for (auto it = channel.rbegin(); it != channel.rend(); ++it) {
      const double square = static_cast<double>(weights[*it]) * static_cast<double>(weights[*it]);
      sum += square;
      scores[*it] = square > 0 ? static_cast<float>(square / sum) : 0.0F;
    }
  }
  return scores;
}

// Zeros the `count` lowest scores over all of `layers`; those of 1 (the last of a channel) stay.
void remove_lowest(const std::vector<std::vector<float>>& scores, int64_t count,
                   std::vector<std::vector<float>>& weights) {
  std::vector<float> sorted;
  for (const std::vector<float>& layer : scores) sorted.insert(sorted.end(), layer.begin(), layer.end());
  if (count <= 0 || sorted.empty()) return;
  const auto nth = sorted.begin() + static_cast<ptrdiff_t>(count - 1);
  std::nth_element(sorted.begin(), nth, sorted.end());
  const float threshold = std::min(*nth, std::nextafter(1.0F, 0.0F));
  int64_t ties = count - std::count_if(sorted.begin(), sorted.end(), [&](float score) { return score < threshold; });
  for (size_t i = 0; i < scores.size(); ++i) {
    for (size_t j = 0; j < scores[i].size(); ++j) {
      if (scores[i][j] > threshold) continue;
      if (scores[i][j] == threshold && ties-- <= 0) continue;
      weights[i][j] = 0.0F;
    }
  }
}

double decibels(double signal, double noise) { return signal > 0 && noise > 0 ? 10 * std::log10(signal / noise) : 0.0; }

int64_t share_of(double sparsity, int64_t count) {
  return static_cast<int64_t>(std::ceil(sparsity * static_cast<double>(count) - 1e-9));
}

}  // namespace

Result<PruneReport> prune(ir::Graph& graph, double sparsity, PruneScope scope) {
  if (!(sparsity >= 0 && sparsity < 1)) {
    return make_error(StatusCode::kOutOfRange, "Q180",
                      "sparsity {}: it is the share of weights that become zero, at least 0 and below 1", sparsity);
  }
  const std::vector<Layer> layers = layers_of(graph);
  if (layers.empty()) {
    return make_error(StatusCode::kInvalidArgument, "Q181",
                      "the model has no convolution or matrix product with f32 weights: there is nothing to prune");
  }
  std::vector<std::vector<float>> weights;
  std::vector<std::vector<float>> scores;
  PruneReport report;
  report.wanted = sparsity;
  for (const Layer& layer : layers) {
    const std::span<const float> source = floats_of(graph.value(layer.weights));
    weights.emplace_back(source.begin(), source.end());
    scores.push_back(scores_of(source, layer.layout));
    report.weight_count += static_cast<int64_t>(source.size());
  }
  if (scope == PruneScope::kGlobal) {
    remove_lowest(scores, share_of(sparsity, report.weight_count), weights);
  } else {
    for (size_t i = 0; i < layers.size(); ++i) {
      std::vector<std::vector<float>> one{std::move(weights[i])};
      remove_lowest({scores[i]}, share_of(sparsity, static_cast<int64_t>(scores[i].size())), one);
      weights[i] = std::move(one[0]);
    }
  }
  double all_signal = 0;
  double all_noise = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    const ir::Node& node = graph.node(layers[i].node);
    const std::span<const float> before = floats_of(graph.value(layers[i].weights));
    PrunedLayer record{node.name, node.op, static_cast<int64_t>(before.size()), 0, 0};
    double signal = 0;
    double noise = 0;
    for (size_t j = 0; j < before.size(); ++j) {
      const double square = static_cast<double>(before[j]) * static_cast<double>(before[j]);
      signal += square;
      if (weights[i][j] == 0.0F) {
        noise += square;
        ++record.zero_count;
      }
    }
    record.sqnr_db = decibels(signal, noise);
    all_signal += signal;
    all_noise += noise;
    report.zero_count += record.zero_count;
    report.layers.push_back(std::move(record));
    const ir::Value old = graph.value(layers[i].weights);  // a copy: adding a value moves them
    const ir::ValueId fresh =
        graph.add_constant(old.name, old.type, ir::ConstantData::copy_of(std::as_bytes(std::span(weights[i]))));
    graph.replace_uses(layers[i].weights, fresh);
  }
  graph.erase_dead();
  report.sqnr_db = decibels(all_signal, all_noise);
  return report;
}

Status measure_pruning(const ir::Graph& before, const ir::Graph& after, const NextSample& next, int64_t limit,
                       int threads, PruneReport& report) {
  HAI_TRY(CompiledGraph dense, CompiledGraph::make(before, threads));
  HAI_TRY(CompiledGraph sparse, CompiledGraph::make(after, threads));
  struct Sums {
    double signal = 0;
    double noise = 0;
    double product = 0;
    double square = 0;
  };
  std::vector<Sums> sums(before.outputs().size());
  for (report.sample_count = 0; report.sample_count < limit; ++report.sample_count) {
    HAI_TRY(const auto sample, next());
    if (!sample) break;
    HAI_TRY(const auto wanted, dense.run(*sample));
    HAI_TRY(const auto got, sparse.run(*sample));
    for (size_t i = 0; i < sums.size(); ++i) {
      if (wanted[i].dtype != DataType::kF32) continue;
      const float* x = data_of<float>(wanted[i]);
      const float* y = data_of<float>(got[i]);
      for (int64_t j = 0; j < wanted[i].count(); ++j) {
        const double a = x[j];
        const double b = y[j];
        sums[i].signal += a * a;
        sums[i].noise += (a - b) * (a - b);
        sums[i].product += a * b;
        sums[i].square += b * b;
      }
    }
  }
  for (size_t i = 0; i < sums.size(); ++i) {
    const double norm = std::sqrt(sums[i].signal) * std::sqrt(sums[i].square);
    report.outputs.push_back({before.value(before.outputs()[i]).name, decibels(sums[i].signal, sums[i].noise),
                              norm > 0 ? sums[i].product / norm : 1.0});
  }
  return {};
}

}  // namespace hai::quantizer

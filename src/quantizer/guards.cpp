// The guards.
//
// Method: each guard is one function over what calibration has seen anyway. Out of domain: a batch norm's offset and
// scale are mean and standard deviation of its result over the training data; calibration's own means, in units of that
// deviation, stay near zero for pictures like those, and leave it when normalisation, colour order or content differ
// (the statistic that Cai et al., "ZeroQ", CVPR 2020, match to make pictures from nothing). Thresholds are wide: a
// warning should be right. Lists are cut, so that a hopeless model gives lines and not pages.
#include "quantizer/guards.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "quantizer/weights.h"

namespace hai::quantizer {
namespace {

constexpr int64_t kFewSamples = 8;
constexpr double kForeignDeviation = 1.0;  // mean over channels, in standard deviations; photos stay below 0.4
constexpr double kSaturatingShare = 0.01;  // of a tensor's values
constexpr double kOutlierRatio = 16.0;     // largest magnitude over the 99.9th percentile
constexpr size_t kMostOfAKind = 8;
constexpr size_t kWatchedNorms = 8;

class Findings {
 public:
  void add(std::string id, std::string layer, std::string message, std::string remedy) {
    if (size_t& count = counts_[id]; ++count > kMostOfAKind) return;
    warnings_.push_back({std::move(id), std::move(layer), std::move(message), std::move(remedy)});
  }

  std::vector<Warning> take() {
    for (Warning& warning : warnings_) {
      const size_t more = counts_[warning.id] > kMostOfAKind ? counts_[warning.id] - kMostOfAKind : 0;
      const bool last = &warning == &*std::find_if(warnings_.rbegin(), warnings_.rend(),
                                                   [&](const Warning& w) { return w.id == warning.id; });
      if (more > 0 && last) warning.message += fmt::format(" (and {} more like it)", more);
    }
    return std::move(warnings_);
  }

 private:
  std::map<std::string, size_t> counts_;
  std::vector<Warning> warnings_;
};

void find_nothing_quantized(const GuardInput& input, Findings& out) {
  int64_t layers = 0;
  for (ir::NodeId id = 0; id < input.graph.node_slots(); ++id) {
    if (!input.graph.node(id).alive) continue;
    if (input.plan.integer[id] || input.plan.weight_only[id] || input.plan.half[id]) return;
    layers += role_of(input.graph, input.graph.node(id)) == Role::kMac ? 1 : 0;
  }
  if (layers == 0) {
    out.add("nothing_quantized", "",
            "there is no convolution or product with constant weights in f32, so the model stays as it is",
            "use the model as it was given");
  } else {
    out.add("nothing_quantized", "",
            fmt::format("all {} layers with weights stay f32, so the model stays as it is", layers),
            "name fewer layers in layers and keep_float");
  }
}

void find_few_samples(const GuardInput& input, Findings& out) {
  if (input.sample_count >= kFewSamples || input.plan.watched.empty()) return;
  out.add("few_samples", "", fmt::format("only {} calibration samples", input.sample_count),
          "give 16 to 500 like those the model will see");
}

void find_foreign_samples(const GuardInput& input, Findings& out) {
  double worst = 0;
  std::string layer;
  double sum = 0;
  size_t count = 0;
  for (const auto& [value, index] : input.watched_norms) {
    const auto seen = input.observations.find(value);
    const NormStatistics& expected = input.norms[index];
    if (seen == input.observations.end()) continue;
    const std::vector<float> means = seen->second.channel_means();
    if (means.size() != expected.means.size() || means.empty()) continue;
    double deviation = 0;
    for (size_t c = 0; c < means.size(); ++c) {
      const double unit = std::max(static_cast<double>(expected.deviations[c]), 1e-3);
      deviation += std::min(std::abs(static_cast<double>(means[c] - expected.means[c])) / unit, 10.0);
    }
    deviation /= static_cast<double>(means.size());
    sum += deviation;
    ++count;
    if (deviation > worst) {
      worst = deviation;
      layer = input.graph.value(value).name;
    }
  }
  if (count == 0 || sum / static_cast<double>(count) < kForeignDeviation) return;
  out.add("out_of_domain", layer,
          fmt::format("calibration samples differ from the data the model was trained on: its channel means are {:.1f} "
                      "standard deviations away from its batch norm's",
                      worst),
          "check mean, scale and colour order of the preprocessing, and calibrate with samples like the training data");
}

void find_dead_channels(const GuardInput& input, Findings& out) {
  for (const auto& [value, seen] : input.observations) {
    if (seen.min() < 0 || seen.max() == 0.0F) continue;
    const std::vector<float> means = seen.channel_means();
    const auto dead = std::count(means.begin(), means.end(), 0.0F);
    if (dead == 0) continue;
    out.add("dead_channels", input.graph.value(value).name,
            fmt::format("{} of {} channels were zero on every sample", dead, means.size()),
            "calibrate with more varied samples; channels that stay zero can be pruned");
  }
}

void find_zero_weights(const GuardInput& input, Findings& out) {
  for (ir::NodeId id = 0; id < input.graph.node_slots(); ++id) {
    const ir::Node& node = input.graph.node(id);
    if (!node.alive || (!input.plan.weight_only[id] && (!input.plan.integer[id] || input.plan.roles[id] != Role::kMac)))
      continue;
    const ir::Value& weights = input.graph.value(node.inputs[1]);
    const ChannelLayout layout = layout_of(node, weights.type.shape);
    const int64_t zero = zero_channel_count(floats_of(weights), layout);
    if (zero == 0) continue;
    out.add("zero_weights", node.name,
            fmt::format("{} of {} output channels have no weight that is not zero", zero, layout.channels),
            "nothing is lost by quantizing them; pruning them makes the model smaller");
  }
}

void find_bad_ranges(const GuardInput& input, Findings& out) {
  for (const ir::ValueId value : input.plan.watched) {
    const RangeObserver& seen = input.observations.at(value);
    const std::string& name = input.graph.value(value).name;
    if (input.graph.is_input(value) && seen.min() == seen.max()) {
      out.add("constant_input", name, fmt::format("the input was {} everywhere in every sample", seen.min()),
              "calibrate with samples like those the model will see");
      continue;
    }
    if (seen.min() == 0.0F && seen.max() == 0.0F) {
      out.add("never_reached", name, "zero on every sample, so its range is unknown",
              "calibrate with samples that reach it");
      continue;
    }
    if (input.plan.bits[value] != 8) continue;
    const double share = seen.clipped_share(input.ranges.of(input.plan, value));
    const double typical = seen.magnitude_percentile(99.9);
    const auto largest = static_cast<double>(std::max(-seen.min(), seen.max()));
    if (share > kSaturatingShare && !input.ranges.behind_function[value]) {
      out.add("saturating_range", name, fmt::format("{:.1f} % of its values lie outside its range", 100 * share),
              "use observer minmax or percentile, or give this layer 16 bits");
    } else if (typical > 0 && largest > kOutlierRatio * typical) {
      out.add(
          "range_outliers", name,
          fmt::format("its largest value, {:.3g}, is {:.0f} times its 99.9th percentile", largest, largest / typical),
          "keep this layer in 16 bits (layers={\"name\": \"w8a16\"}) or smooth=True, if accuracy suffers");
    }
  }
}

}  // namespace

std::string to_string(const Warning& warning) {
  return printable(fmt::format("{}: {}{}{}; {}", warning.id, warning.layer, warning.layer.empty() ? "" : ": ",
                               warning.message, warning.remedy));
}

Status check_weights(const ir::Graph& graph) {
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    const ir::Value& value = graph.value(id);
    if (!value.alive || !value.is_constant() || value.type.dtype != DataType::kF32) continue;
    const auto is_product = [&](const ir::Use& use) {
      const std::string& op = graph.node(use.node).op;
      return op == "conv2d" || op == "conv_transpose2d" || op == "matmul" || op == "batch_norm";
    };
    if (!std::any_of(value.uses.begin(), value.uses.end(), is_product)) continue;
    const auto numbers = floats_of(value);
    const auto bad = std::find_if(numbers.begin(), numbers.end(), [](float x) { return !std::isfinite(x); });
    if (bad == numbers.end()) continue;
    return make_error(
        StatusCode::kInvalidArgument, "Q042",
        "weights \"{}\" hold {} at element {} of {} (read by \"{}\"); the model cannot be quantized: load "
        "an intact checkpoint or train again",
        value.name, *bad, bad - numbers.begin(), numbers.size(), graph.node(value.uses[0].node).name);
  }
  return {};
}

std::vector<NormStatistics> norm_statistics(const ir::Graph& graph) {
  std::vector<NormStatistics> out;
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    const ir::Node& node = graph.node(id);
    if (!node.alive || node.op != "batch_norm" || node.inputs.size() < 3) continue;
    const ir::Value& scale = graph.value(node.inputs[1]);
    const ir::Value& offset = graph.value(node.inputs[2]);
    if (!scale.is_constant() || !offset.is_constant() || scale.type.dtype != DataType::kF32 ||
        offset.type.dtype != DataType::kF32)
      continue;
    NormStatistics statistics;
    // A convolution that takes its batch norm in keeps its own output's name; transposes between them go.
    ir::ValueId source = node.inputs[0];
    while (graph.value(source).producer != ir::kNone && graph.node(graph.value(source).producer).op == "transpose")
      source = graph.node(graph.value(source).producer).inputs[0];
    statistics.value = graph.value(source).name;
    const auto offsets = floats_of(offset);
    statistics.means.assign(offsets.begin(), offsets.end());
    for (const float gamma : floats_of(scale)) statistics.deviations.push_back(std::abs(gamma));
    if (statistics.means.size() == statistics.deviations.size()) out.push_back(std::move(statistics));
  }
  return out;
}

std::vector<std::pair<ir::ValueId, size_t>> watched_norms(const ir::Graph& graph,
                                                          const std::vector<NormStatistics>& statistics) {
  std::vector<std::pair<ir::ValueId, size_t>> found;
  for (size_t i = 0; i < statistics.size(); ++i) {
    const auto value = graph.find_value(statistics[i].value);
    if (!value || graph.value(*value).producer == ir::kNone) continue;
    if (graph.node(graph.value(*value).producer).op == "batch_norm") continue;
    const Shape& shape = graph.value(*value).type.shape;
    if (shape.empty() || shape.back() != Dim(static_cast<int64_t>(statistics[i].means.size()))) continue;
    found.emplace_back(*value, i);
  }
  std::vector<std::pair<ir::ValueId, size_t>> chosen;
  for (size_t k = 0; k < std::min(kWatchedNorms, found.size()); ++k)
    chosen.push_back(found[k * found.size() / std::min(kWatchedNorms, found.size())]);
  return chosen;
}

std::vector<Warning> find_warnings(const GuardInput& input) {
  Findings out;
  find_nothing_quantized(input, out);
  find_few_samples(input, out);
  find_foreign_samples(input, out);
  find_bad_ranges(input, out);
  find_dead_channels(input, out);
  find_zero_weights(input, out);
  return out.take();
}

}  // namespace hai::quantizer

// The search for a mixture of bits.
//
// Method: samples are split in two, choose on one half, measure on the other. The model is quantized at 8 and at 4 bits
// once; a candidate is spliced from the two (precision_mix.h) and run. Sensitivity of a layer: the rise of the outputs'
// mean KL (error energy where there are no classes) when it alone goes to 4 bits in the 8-bit model, and the fall when
// it alone goes back to 8 in the 4-bit one, averaged: the first and the last step of any order of layers (as Shapley
// values average over all), which keeps noise that compensates from fooling it. Damage is taken as additive and scaled
// to what the 4-bit model really shows. Choosing is a multiple-choice knapsack: the convex hull of each layer's (cost,
// damage), all hull edges in order of damage per cost, gives the Pareto front of the relaxation exactly. Bisection
// along the front finds the cheapest mixture whose drop, measured on the other half, is under the goal. Only when
// 8 bits everywhere miss the goal do 16 bits join, by the effect of a layer without rounding (wider_layer.h).
// Deterministic.
#include "quantizer/mixed_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "compiler/compile.h"
#include "quantizer/drop_forecast.h"
#include "quantizer/graph_pairing.h"
#include "quantizer/graph_runner.h"
#include "quantizer/mixed_cost.h"
#include "quantizer/precision_mix.h"
#include "quantizer/sample_store.h"
#include "quantizer/wider_layer.h"

namespace hai::quantizer {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLeastSamples = 8;
constexpr size_t kSensitivitySamples = 24;
constexpr double kSensitivityMacs = 4e8;  // models beyond it get fewer samples a layer, at least four
constexpr size_t kFrontRows = 14;

Precision precision_of(int bits) { return {bits, bits == 16 ? 16 : 8, false}; }

// One choice of bits for every layer.
struct Mixture {
  std::vector<int> bits;
  double cost = 0;    // cycles
  double damage = 0;  // forecast
  std::optional<DropForecast> measured;
};

struct Sensitivity {
  double four = 0;     // rise of the damage at 4 bits
  double sixteen = 0;  // change at 16 bits, at most 0
};

class MixedSearch {
 public:
  MixedSearch(ir::Graph graph, const QuantizeOptions& options, const MixedOptions& mixed)
      : graph_(std::move(graph)), options_(options), mixed_(mixed), samples_(options.sample_memory_bytes) {}

  Status run(const NextSample& next) {
    if (!(mixed_.max_drop > 0) || mixed_.max_drop > 100) {
      return make_error(StatusCode::kOutOfRange, "Q081", "max_drop {} must be in (0, 100] points", mixed_.max_drop);
    }
    HAI_TRY_STATUS(samples_.add_all(graph_, next));
    if (samples_.size() < kLeastSamples) {
      return make_error(StatusCode::kInvalidArgument, "Q080",
                        "a mixed search needs at least {} calibration samples, there are {}; it chooses on one half "
                        "and measures on the other",
                        kLeastSamples, samples_.size());
    }
    for (size_t i = 0; i < samples_.size(); ++i) (i % 2 == 0 ? choosing_ : measuring_).push_back(i);
    HAI_TRY_STATUS(run_float_model());
    HAI_TRY_STATUS(make_variants());
    HAI_TRY_STATUS(find_sensitivities());
    build_front();
    HAI_TRY_STATUS(choose());
    if (!reached_) HAI_TRY_STATUS(widen_and_choose_again());
    return {};
  }

  Result<MixedResult> finish() {
    MixedResult result;
    const Mixture& chosen = front_[chosen_];
    std::set<std::string> names;
    bool distinct = true;
    for (size_t i = 0; i < layers_.size(); ++i) {
      distinct = distinct && !layers_[i].name.empty() && names.insert(layers_[i].name).second;
      result.layers[layers_[i].name] = precision_of(chosen.bits[i]);
    }
    if (mixed_.refit && distinct) {
      say("quantizing with the chosen bits and all samples");
      QuantizeOptions options = options_;
      options.precision = Precision{};
      for (const auto& [name, precision] : result.layers) options.layers[name] = precision;
      HAI_TRY(result.quantized, quantize(graph_, samples_.stream(all_samples()), options));
    } else {
      HAI_TRY(result.quantized, quantize(graph_, samples_.stream(choosing_), variant_options(8)));
      HAI_TRY(result.quantized.graph, graph_of(chosen));
    }
    if (!reached_) {
      result.quantized.warnings.push_back(fmt::format(
          "no mixture reaches a drop of {:.3g} points: the best has {:.2f} ({:.2f} to {:.2f}); raise max_drop, or keep "
          "layers in f32 (keep_float)",
          mixed_.max_drop, chosen.measured->points, chosen.measured->points_low, chosen.measured->points_high));
    }
    result.json = report(chosen);
    return result;
  }

 private:
  void say(std::string_view line) const {
    if (mixed_.progress) mixed_.progress(line);
  }

  std::vector<size_t> all_samples() const {
    std::vector<size_t> indices(samples_.size());
    for (size_t i = 0; i < indices.size(); ++i) indices[i] = i;
    return indices;
  }

  QuantizeOptions variant_options(int bits) const {
    QuantizeOptions options = options_;
    options.precision = precision_of(bits);
    options.adaround = options_.adaround && bits == 4;
    options.self_check = false;
    options.force = true;
    return options;
  }

  Status run_float_model() {
    reference_ = graph_;
    HAI_TRY_STATUS(prepare_reference(reference_));
    for (const ir::ValueId output : reference_.outputs()) {
      if (reference_.value(output).type.dtype == DataType::kF32) scored_.push_back(output);
    }
    HAI_TRY(GraphRunner runner, GraphRunner::make(reference_, options_.threads));
    for (size_t i = 0; i < samples_.size(); ++i) {
      HAI_TRY(const auto sample, samples_.read(i));
      HAI_TRY(const auto outputs, runner.run(views_of(sample)));
      expected_.push_back(scored_of(outputs));
    }
    return collect_margins();
  }

  // Outputs of a variant stand in the float model's order.
  std::vector<api::Tensor> scored_of(std::span<const api::Tensor> outputs) const {
    std::vector<api::Tensor> scored;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (reference_.value(reference_.outputs()[i]).type.dtype == DataType::kF32) scored.push_back(outputs[i]);
    }
    return scored;
  }

  Status make_variants() {
    say("quantizing at 8 bits");
    HAI_TRY(Quantized eight, quantize(graph_, samples_.stream(choosing_), variant_options(8)));
    say(options_.adaround ? "quantizing at 4 bits, learning how to round" : "quantizing at 4 bits");
    HAI_TRY(Quantized four, quantize(graph_, samples_.stream(choosing_), variant_options(4)));
    mix_.emplace(std::move(eight.graph), std::move(four.graph));
    HAI_TRY(layers_, mix_->layers());
    if (layers_.empty()) {
      return make_error(StatusCode::kInvalidArgument, "Q082",
                        "the model has no layer whose bits can be chosen; use bit_width 8");
    }
    return {};
  }

  Result<DropForecast> evaluate(ir::Graph graph, std::span<const size_t> indices) {
    HAI_TRY(GraphRunner runner, GraphRunner::make(std::move(graph), options_.threads));
    OutputScores scores(reference_, scored_);
    for (const size_t index : indices) {
      HAI_TRY(const auto sample, samples_.read(index));
      HAI_TRY(const auto outputs, runner.run(views_of(sample)));
      HAI_TRY_STATUS(scores.add(expected_[index], scored_of(outputs), static_cast<int64_t>(index)));
    }
    return forecast_drop(scores.outputs(), options_.seed, margins_);
  }

  // The float model's margins on all samples: they do not depend on any choice.
  Status collect_margins() {
    OutputScores scores(reference_, scored_);
    for (size_t i = 0; i < expected_.size(); ++i)
      HAI_TRY_STATUS(scores.add(expected_[i], expected_[i], static_cast<int64_t>(i)));
    for (const OutputScore& output : scores.outputs())
      margins_.insert(margins_.end(), output.answers.begin(), output.answers.end());
    return {};
  }

  Result<double> damage_of(ir::Graph graph, std::span<const size_t> indices) {
    HAI_TRY(const DropForecast forecast, evaluate(std::move(graph), indices));
    return forecast.damage;
  }

  // The 8-bit graph with these layers at 4 bits.
  Result<ir::Graph> at_four(const std::set<std::string>& outputs) {
    return mix_->with_four_bits(mix_->eight(), outputs);
  }

  std::set<std::string> every_layer() const {
    std::set<std::string> outputs;
    for (const MixableLayer& layer : layers_) outputs.insert(layer.output);
    return outputs;
  }

  std::span<const size_t> sensitivity_samples() const {
    double macs = 1;
    for (const MixableLayer& layer : layers_) macs += static_cast<double>(layer.macs);
    const double wanted = static_cast<double>(kSensitivitySamples) * std::min(1.0, kSensitivityMacs / macs);
    const size_t count = std::min(choosing_.size(), std::max<size_t>(4, static_cast<size_t>(wanted)));
    return std::span(choosing_).first(count);
  }

  Status find_sensitivities() {
    const std::span<const size_t> few = sensitivity_samples();
    const std::set<std::string> all = every_layer();
    HAI_TRY(const double none_damage, damage_of(mix_->eight(), few));
    HAI_TRY(ir::Graph all_four, at_four(all));
    HAI_TRY(const double all_damage, damage_of(std::move(all_four), few));
    double sum = 0;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (i % 10 == 0) say(fmt::format("sensitivity of layer {} of {}", i + 1, layers_.size()));
      HAI_TRY(ir::Graph first, at_four({layers_[i].output}));
      HAI_TRY(const double rise, damage_of(std::move(first), few));
      std::set<std::string> others = all;
      others.erase(layers_[i].output);
      HAI_TRY(ir::Graph last, at_four(others));
      HAI_TRY(const double fall, damage_of(std::move(last), few));
      Sensitivity sensitivity;
      // Never below a thousandth of the mean share: a layer is not free because its noise happened to help.
      const double least = 1e-3 * all_damage / static_cast<double>(layers_.size());
      sensitivity.four = std::max(0.5 * ((rise - none_damage) + (all_damage - fall)), least);
      sum += sensitivity.four;
      sensitivities_.push_back(sensitivity);
    }
    const double scale = all_damage > none_damage && sum > 0 ? (all_damage - none_damage) / sum : 1.0;
    for (Sensitivity& sensitivity : sensitivities_) sensitivity.four *= scale;
    // The mapping from damage to points, at both ends, on the whole half.
    HAI_TRY(eight_, evaluate(mix_->eight(), choosing_));
    HAI_TRY(ir::Graph four, at_four(all));
    HAI_TRY(four_, evaluate(std::move(four), choosing_));
    return {};
  }

  double cycles(size_t layer, int bits) const {
    return layer_cycles(precision_of(bits), layers_[layer].macs, layers_[layer].weights);
  }

  // An edge of a layer's convex hull: going from one number of bits to the next.
  struct Edge {
    size_t layer;
    int bits;
    double cost;
    double relief;  // damage taken away
  };

  void build_front() {
    std::vector<Edge> edges;
    Mixture cheapest;
    cheapest.damage = eight_.damage;
    for (size_t i = 0; i < layers_.size(); ++i) {
      std::vector<std::pair<int, double>> choices{{4, sensitivities_[i].four}, {8, 0.0}};
      if (sensitivities_[i].sixteen < 0) choices.emplace_back(16, sensitivities_[i].sixteen);
      cheapest.bits.push_back(4);
      cheapest.cost += cycles(i, 4);
      cheapest.damage += choices[0].second;
      for (size_t at = 0; at + 1 < choices.size();) {
        size_t best = at + 1;
        const auto slope = [&](size_t to) {
          return (choices[at].second - choices[to].second) /
                 std::max(cycles(i, choices[to].first) - cycles(i, choices[at].first), 1e-9);
        };
        for (size_t to = at + 2; to < choices.size(); ++to) best = slope(to) > slope(best) ? to : best;
        edges.push_back({i, choices[best].first, cycles(i, choices[best].first) - cycles(i, choices[at].first),
                         choices[at].second - choices[best].second});
        at = best;
      }
    }
    std::stable_sort(edges.begin(), edges.end(),
                     [](const Edge& a, const Edge& b) { return a.relief * b.cost > b.relief * a.cost; });
    front_.assign(1, cheapest);
    for (const Edge& edge : edges) {
      Mixture next = front_.back();
      next.bits[edge.layer] = edge.bits;
      next.cost += edge.cost;
      next.damage = std::max(next.damage - edge.relief, 0.1 * eight_.damage);
      front_.push_back(std::move(next));
    }
  }

  Result<ir::Graph> graph_of(const Mixture& mixture) {
    std::set<std::string> four;
    QuantizeOptions options = variant_options(8);
    bool wide = false;
    for (size_t i = 0; i < layers_.size(); ++i) {
      if (mixture.bits[i] == 4) four.insert(layers_[i].output);
      if (mixture.bits[i] != 16) continue;
      options.layers[layers_[i].name] = precision_of(16);
      wide = true;
    }
    if (!wide) return at_four(four);
    HAI_TRY(const Quantized base, quantize(graph_, samples_.stream(choosing_), options));
    return mix_->with_four_bits(base.graph, four);
  }

  Result<bool> fits(size_t index) {
    Mixture& mixture = front_[index];
    if (!mixture.measured) {
      HAI_TRY(ir::Graph graph, graph_of(mixture));
      HAI_TRY(mixture.measured, evaluate(std::move(graph), measuring_));
      say(fmt::format("measured {:.2f} bits a weight: {:.2f} points ({:.2f} to {:.2f})", average_bits(mixture),
                      mixture.measured->points, mixture.measured->points_low, mixture.measured->points_high));
    }
    return mixture.measured->points <= mixed_.max_drop;
  }

  // The cheapest mixture of the front that fits, by bisection; the last one when none does.
  Status choose() {
    size_t low = 0;
    size_t high = front_.size() - 1;
    HAI_TRY(reached_, fits(high));
    chosen_ = high;
    if (!reached_) return {};
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      HAI_TRY(const bool good, fits(middle));
      if (good) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    chosen_ = high;
    return {};
  }

  // 8 bits everywhere are too few: what 16 bits bring, layer by layer, then again.
  Status widen_and_choose_again() {
    say("8 bits miss the goal: trying 16 bits");
    ir::Graph fused = mix_->eight();
    HAI_TRY_STATUS(prepare_quantized(fused));
    HAI_TRY(const Pairing pairing, pair_graphs(reference_, fused));
    const std::span<const size_t> few = sensitivity_samples();
    HAI_TRY(const double before, damage_of(fused, few));
    for (size_t i = 0; i < layers_.size(); ++i) {
      for (const PairedLayer& paired : pairing.layers) {
        if (fused.node(paired.node).name != layers_[i].name || !has_weights(fused, fused.node(paired.node))) continue;
        HAI_TRY(ir::Graph wider, with_wider_layer(reference_, fused, pairing, paired));
        HAI_TRY(const double after, damage_of(std::move(wider), few));
        sensitivities_[i].sixteen = std::min(after - before, 0.0);
      }
    }
    const Mixture eight = front_.back();
    build_front();
    HAI_TRY_STATUS(choose());
    if (!reached_ && eight.measured->points < front_[chosen_].measured->points) {
      front_.push_back(eight);  // widening did not even help
      chosen_ = front_.size() - 1;
    }
    return {};
  }

  double average_bits(const Mixture& mixture) const {
    double bits = 0;
    double weights = 0;
    for (size_t i = 0; i < layers_.size(); ++i) {
      bits += static_cast<double>(layers_[i].weights) * mixture.bits[i];
      weights += static_cast<double>(layers_[i].weights);
    }
    return bits / weights;
  }

  double cost_of_eight() const {
    double cost = 0;
    for (size_t i = 0; i < layers_.size(); ++i) cost += cycles(i, 8);
    return cost;
  }

  // Points of a damage that was not measured: a power law through the 8-bit and the 4-bit model on the choosing half.
  double mapped_points(double damage) const {
    const bool usable = eight_.damage > 0 && four_.damage > eight_.damage && eight_.points > 0 && four_.points > 0;
    if (!usable) return four_.damage > 0 ? four_.points * damage / four_.damage : 0;
    const double exponent = std::log(four_.points / eight_.points) / std::log(four_.damage / eight_.damage);
    return eight_.points * std::pow(damage / eight_.damage, exponent);
  }

  Json point_json(const Mixture& mixture, bool chosen) const {
    const auto& m = mixture.measured;
    const double points = m ? m->points : mapped_points(mixture.damage);
    return {{"average_weight_bits", average_bits(mixture)},
            {"cost", mixture.cost / cost_of_eight()},
            {"damage", m ? m->damage : mixture.damage},
            {"points", points},
            {"points_low", m ? m->points_low : points},
            {"points_high", m ? m->points_high : points},
            {"overturned", m ? m->overturned : 0.0},
            {"measured", m.has_value()},
            {"chosen", chosen}};
  }

  std::string report(const Mixture& chosen) const {
    Json json{{"max_drop", mixed_.max_drop}, {"reached", reached_}};
    json["samples_choosing"] = choosing_.size();
    json["samples_measuring"] = measuring_.size();
    json["rule"] = drop_rule(chosen.measured->classes);
    json["steered_by"] = chosen.measured->classes ? "mean KL of the outputs" : "error energy of the outputs";
    json["cost_table"] = Json::array();
    for (const PrecisionCost& cost : precision_costs()) {
      json["cost_table"].push_back({{"precision", cost.name},
                                    {"macs_per_cycle", cost.macs_per_cycle},
                                    {"bytes_per_weight", cost.bytes_per_weight}});
    }
    json["mapping"] = Json::array();
    for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
      const double damage =
          eight_.damage * std::pow(std::max(four_.damage / std::max(eight_.damage, 1e-12), 1.0), share);
      json["mapping"].push_back({{"damage", damage}, {"points", mapped_points(damage)}});
    }
    json["front"] = Json::array();
    for (size_t i = 0; i < front_.size(); ++i) json["front"].push_back(point_json(front_[i], i == chosen_));
    json["choice"] = point_json(chosen, true);
    json["layers"] = Json::array();
    for (size_t i = 0; i < layers_.size(); ++i) {
      json["layers"].push_back({{"name", layers_[i].name},
                                {"bits", chosen.bits[i]},
                                {"weights", layers_[i].weights},
                                {"macs", layers_[i].macs},
                                {"damage_at_4_bits", sensitivities_[i].four}});
    }
    json["text"] = text_of(chosen, json);
    return json.dump();
  }

  std::string text_of(const Mixture& chosen, const Json& json) const {
    const DropForecast& m = *chosen.measured;
    const bool classes = m.classes;
    std::string text = fmt::format("Mixed precision: at most {:.3g} points, {} on {} samples held back\n",
                                   mixed_.max_drop, reached_ ? "measured" : "NOT REACHED", measuring_.size());
    text += fmt::format("  {:.2f} bits a weight, modelled cost {:.2f} of 8 bits everywhere\n", average_bits(chosen),
                        chosen.cost / cost_of_eight());
    text += fmt::format("  drop {:.2f} points ({:.2f} to {:.2f})", m.points, m.points_low, m.points_high);
    if (classes) {
      text += fmt::format(", {:.1f} % of the answers change ({:.1f} to {:.1f})", 100 * m.overturned,
                          100 * m.overturned_low, 100 * m.overturned_high);
    }
    text += fmt::format(", {} {:.4f}\n", classes ? "mean KL" : "error energy", m.damage);
    for (const int bits : {4, 8, 16}) {
      const auto count = std::count(chosen.bits.begin(), chosen.bits.end(), bits);
      if (count > 0) text += fmt::format("  {} layers at {} bits\n", count, bits);
    }
    text += "Mapping (" + json.at("steered_by").get<std::string>() + " to points, by margins on the choosing half)\n ";
    for (const Json& point : json.at("mapping"))
      text += fmt::format("  {:.4f}: {:.2f}", point.at("damage").get<double>(), point.at("points").get<double>());
    text += "\nPareto front (cheapest first)\n    bits    cost  damage  points  interval\n";
    for (size_t i = 0; i < front_.size(); ++i) {
      const bool shown = front_[i].measured || i % std::max<size_t>(front_.size() / kFrontRows, 1) == 0;
      if (!shown) continue;
      const Json& point = json.at("front")[i];
      const std::string interval = front_[i].measured
                                       ? fmt::format("{:.2f} to {:.2f}", point.at("points_low").get<double>(),
                                                     point.at("points_high").get<double>())
                                       : std::string("forecast");
      text += fmt::format("{} {:5.2f}  {:6.3f}  {:6.4f}  {:6.2f}  {}\n", i == chosen_ ? " >" : "  ",
                          average_bits(front_[i]), front_[i].cost / cost_of_eight(), point.at("damage").get<double>(),
                          point.at("points").get<double>(), interval);
    }
    return text;
  }

  ir::Graph graph_;
  QuantizeOptions options_;
  MixedOptions mixed_;
  SampleStore samples_;
  std::vector<size_t> choosing_;
  std::vector<size_t> measuring_;
  ir::Graph reference_;
  std::vector<ir::ValueId> scored_;
  std::vector<std::vector<api::Tensor>> expected_;  // by sample
  std::vector<ClassAnswer> margins_;
  std::optional<PrecisionMix> mix_;
  std::vector<MixableLayer> layers_;
  std::vector<Sensitivity> sensitivities_;
  DropForecast eight_;
  DropForecast four_;
  std::vector<Mixture> front_;
  size_t chosen_ = 0;
  bool reached_ = false;
};

}  // namespace

Result<MixedResult> search_mixed(ir::Graph graph, const NextSample& next, const QuantizeOptions& options,
                                 const MixedOptions& mixed) {
  MixedSearch search(std::move(graph), options, mixed);
  HAI_TRY_STATUS(search.run(next));
  return search.finish();
}

}  // namespace hai::quantizer

// The search for a mixture of precisions.
//
// Method. Samples fall into three parts. The model is quantized at 8 and at 4 bits once with two parts, where AdaRound
// is asked for each 4-bit layer as if all others stayed float; a candidate is spliced from the two (precision_mix.h)
// and run on the third part: rounding fits its own samples several times better than others, so only others may judge
// it. Sensitivity of a layer: the rise of the outputs' mean KL (error energy where there are no classes) when it alone
// goes to 4 bits in the 8-bit model. Damage is taken as additive and scaled to what the 4-bit model really shows; a
// knapsack then gives the front (mixed_front.h). Bisection over spliced mixtures finds a first guess. It is verified by
// cross-fitting: quantized anew as it is, twice, each time with one of the first two parts left out and measured on
// that one, of which no bit was chosen; the next guess scales the forecast to what was seen, and rounds only the layers
// anew whose bits are others. Only when 8 bits everywhere miss the goal do 16 bits join, and float only when 16 bits
// everywhere miss it, by the effect of a layer without rounding (wider_layer.h). In the end the mixture is quantized
// with all samples. Deterministic.
#include "quantizer/mixed_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "quantizer/graph_pairing.h"
#include "quantizer/mixed_cost.h"
#include "quantizer/mixed_judge.h"
#include "quantizer/mixed_report.h"
#include "quantizer/precision_mix.h"
#include "quantizer/wider_layer.h"

namespace hai::quantizer {
namespace {

constexpr size_t kLeastSamples = 8;
constexpr size_t kParts = 3;
constexpr size_t kChoosingPart = 2;
constexpr size_t kSensitivityRuns = 42;
constexpr double kSensitivityMacs = 4e8;  // models beyond it get fewer runs a layer, at least four
constexpr int kMostVerified = 4;          // as long as one of them fits
constexpr double kWorthVerifying = 0.01;  // of the cost of 8 bits
// A layer is never free because its noise happened to help: this share of the mean.
constexpr double kLeastShare = 0.03;

constexpr Precision kFour{4, 8, false};
constexpr Precision kEight{8, 8, false};
constexpr Precision kSixteen{16, 16, false};
constexpr Precision kFloat{8, 8, true};

// The damage that going to fewer bits adds, and that more bits take away.
struct Sensitivity {
  double four = 0;
  double sixteen = 0;
  double as_float = 0;  // on top of sixteen
};

// How far up the choices of a layer reach.
enum class Widest : uint8_t { kEightBits, kSixteenBits, kFloats };

class MixedSearch {
 public:
  MixedSearch(const ir::Graph& graph, const QuantizeOptions& options, const OnMixedProgress& progress)
      : graph_(graph), options_(options), progress_(progress), judge_(graph, options) {}

  Status run(const NextSample& next) {
    if (!(options_.max_drop > 0) || options_.max_drop > 100) {
      return make_error(StatusCode::kOutOfRange, "Q081", "max_drop {} must be in (0, 100] points", options_.max_drop);
    }
    HAI_TRY_STATUS(judge_.read(next));
    if (judge_.sample_count() < kLeastSamples) {
      return make_error(StatusCode::kInvalidArgument, "Q080",
                        "a mixed search needs at least {} calibration samples, there are {}; it chooses with some and "
                        "measures on others",
                        kLeastSamples, judge_.sample_count());
    }
    HAI_TRY_STATUS(make_variants());
    HAI_TRY_STATUS(find_sensitivities());
    for (Widest widest = Widest::kEightBits;;
         widest = widest == Widest::kEightBits ? Widest::kSixteenBits : Widest::kFloats) {
      if (widest == Widest::kSixteenBits) HAI_TRY_STATUS(find_gains_of_sixteen());
      if (widest == Widest::kFloats) HAI_TRY_STATUS(find_gains_of_float());
      build_front(widest);
      HAI_TRY_STATUS(choose());
      if (facts_.reached || widest == Widest::kFloats) return {};
    }
  }

  Result<MixedResult> finish() {
    MixedResult result;
    const FrontPoint& chosen = facts_.front[facts_.chosen];
    result.layers = precisions_of(chosen.mixture);
    say("quantizing with the chosen bits and all samples");
    std::vector<size_t> all(judge_.sample_count());
    std::iota(all.begin(), all.end(), size_t{0});
    QuantizeOptions options = options_of(chosen.mixture);
    options.self_check = options_.self_check;
    options.force = options_.force;
    HAI_TRY(result.quantized, quantize_with(all, options));
    if (!facts_.reached) {
      const DropForecast& m = *chosen.measured();
      result.quantized.warnings.push_back(fmt::format(
          "no mixture keeps the drop under {:.3g} points: the best has {:.2f} ({:.2f} to {:.2f}); raise max_drop, or "
          "calibrate with more samples like those the model will see",
          options_.max_drop, m.points, m.points_low, m.points_high));
    }
    result.json = mixed_json(facts_);
    return result;
  }

 private:
  void say(std::string_view line) const {
    if (progress_) progress_(line);
  }

  // Samples of these parts.
  std::vector<size_t> parts(std::initializer_list<size_t> wanted) const {
    std::vector<size_t> samples;
    for (size_t i = 0; i < judge_.sample_count(); ++i) {
      if (std::find(wanted.begin(), wanted.end(), i % kParts) != wanted.end()) samples.push_back(i);
    }
    return samples;
  }

  QuantizeOptions candidate_options(const Precision& precision) const {
    QuantizeOptions options = options_;
    options.max_drop = 0;
    options.precision = precision;
    options.self_check = false;
    options.force = true;
    return options;
  }

  std::map<std::string, Precision> precisions_of(const Mixture& mixture) const {
    std::map<std::string, Precision> precisions;
    for (size_t i = 0; i < facts_.layers.size(); ++i)
      precisions[facts_.layers[i].name] = facts_.choices[i][mixture.choices[i]].precision;
    return precisions;
  }

  QuantizeOptions options_of(const Mixture& mixture) const {
    QuantizeOptions options = candidate_options(kEight);
    for (const auto& [name, precision] : precisions_of(mixture)) options.layers[name] = precision;
    return options;
  }

  Result<Quantized> quantize_with(const std::vector<size_t>& samples, const QuantizeOptions& options,
                                  const QuantizeHooks& given = {}) const {
    QuantizeHooks hooks = given;
    hooks.rounding_progress = [&](const RoundingProgress& at) -> Status {
      if (at.index > 0 && at.index % 10 == 0)
        say(fmt::format("rounding layer {} of {}, {:.0f} s left", at.index, at.count, at.seconds_left));
      return {};
    };
    return quantize(graph_, judge_.stream(samples), options, hooks);
  }

  Status make_variants() {
    const std::vector<size_t> rounding = parts({0, 1});
    say(fmt::format("quantizing at 8 bits with {} of {} samples", rounding.size(), judge_.sample_count()));
    HAI_TRY(Quantized eight, quantize_with(rounding, candidate_options(kEight)));
    say("quantizing at 4 bits");
    QuantizeHooks alone;
    alone.round_alone = true;
    HAI_TRY(Quantized four, quantize_with(rounding, candidate_options(kFour), alone));
    mix_.emplace(std::move(eight.graph), std::move(four.graph));
    HAI_TRY(facts_.layers, mix_->layers());
    if (facts_.layers.empty()) {
      return make_error(StatusCode::kInvalidArgument, "Q082",
                        "the model has no layer whose bits can be chosen; use bit_width 8");
    }
    facts_.max_drop = options_.max_drop;
    facts_.samples = judge_.sample_count();
    facts_.views = judge_.views();
    facts_.classes = judge_.classes();
    return {};
  }

  Result<DropForecast> evaluate(ir::Graph graph, std::span<const MixedJudge::Picture> pictures) const {
    OutputScores scores = judge_.no_scores();
    HAI_TRY_STATUS(judge_.measure(std::move(graph), pictures, scores));
    return judge_.forecast(scores);
  }

  Result<double> damage_of(ir::Graph graph) const {
    HAI_TRY(const DropForecast forecast, evaluate(std::move(graph), few_));
    return forecast.damage;
  }

  Result<ir::Graph> at_four(const std::set<size_t>& layers) const {
    std::set<std::string> outputs;
    for (const size_t layer : layers)
      outputs.insert(facts_.layers[layer].outputs.begin(), facts_.layers[layer].outputs.end());
    return mix_->with_four_bits(mix_->eight(), outputs);
  }

  void choose_pictures() {
    choosing_ = judge_.pictures(parts({kChoosingPart}));
    double macs = 1;
    for (const MixableLayer& layer : facts_.layers) macs += static_cast<double>(layer.macs);
    const double wanted = static_cast<double>(kSensitivityRuns) * std::min(1.0, kSensitivityMacs / macs);
    few_ = choosing_;
    few_.resize(std::min(few_.size(), std::max<size_t>(4, static_cast<size_t>(wanted))));
  }

  Status find_sensitivities() {
    choose_pictures();
    std::set<size_t> all;
    for (size_t i = 0; i < facts_.layers.size(); ++i) all.insert(i);
    HAI_TRY(eight_damage_, damage_of(mix_->eight()));
    HAI_TRY(ir::Graph all_four, at_four(all));
    HAI_TRY(const double four_damage, damage_of(std::move(all_four)));
    const auto count = static_cast<double>(all.size());
    double sum = 0;
    sensitivities_.resize(all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      if (i % 10 == 0) say(fmt::format("sensitivity of layer {} of {}", i + 1, all.size()));
      HAI_TRY(ir::Graph first, at_four({i}));
      HAI_TRY(const double risen, damage_of(std::move(first)));
      sensitivities_[i].four = std::max(risen - eight_damage_, 0.0);
      sum += sensitivities_[i].four;
    }
    const double least = std::max(kLeastShare * sum / count, 1e-30);
    sum = 0;
    for (Sensitivity& sensitivity : sensitivities_) sum += sensitivity.four = std::max(sensitivity.four, least);
    const double scale = four_damage > eight_damage_ && sum > 0 ? (four_damage - eight_damage_) / sum : 1.0;
    for (Sensitivity& sensitivity : sensitivities_) sensitivity.four *= scale;
    return {};
  }

  // What each layer gains in `base` when it is not rounded, scaled so that all together take away `total`.
  Result<std::vector<double>> gains_without_rounding(const ir::Graph& base, double total) {
    ir::Graph fused = base;
    HAI_TRY_STATUS(prepare_quantized(fused));
    HAI_TRY(const Pairing pairing, pair_graphs(judge_.reference(), fused));
    HAI_TRY(const double before, damage_of(fused));
    const double least = std::max(kLeastShare * before / static_cast<double>(facts_.layers.size()), 1e-30);
    std::vector<double> gains(facts_.layers.size(), least);
    for (const PairedLayer& paired : pairing.layers) {
      if (!has_weights(fused, fused.node(paired.node))) continue;
      for (size_t i = 0; i < facts_.layers.size(); ++i) {
        if (fused.node(paired.node).name != facts_.layers[i].name) continue;
        HAI_TRY(ir::Graph wider, with_wider_layer(judge_.reference(), fused, pairing, paired));
        HAI_TRY(const double after, damage_of(std::move(wider)));
        gains[i] += std::max(before - after, 0.0);
      }
    }
    const double sum = std::accumulate(gains.begin(), gains.end(), 0.0);
    for (double& gain : gains) gain *= std::max(total, 1e-30) / sum;
    return gains;
  }

  // The whole model at one precision, without learned rounding: nothing to learn at 16 bits.
  Result<ir::Graph> whole_at(const Precision& precision) {
    QuantizeOptions options = candidate_options(precision);
    options.adaround = false;
    HAI_TRY(Quantized quantized, quantize_with(parts({0, 1}), options));
    return std::move(quantized.graph);
  }

  Status find_gains_of_sixteen() {
    say("8 bits everywhere miss the goal: trying 16 bits layer by layer");
    HAI_TRY(ir::Graph sixteen, whole_at(kSixteen));
    HAI_TRY(sixteen_damage_, damage_of(std::move(sixteen)));
    HAI_TRY(const std::vector<double> gains, gains_without_rounding(mix_->eight(), eight_damage_ - sixteen_damage_));
    for (size_t i = 0; i < gains.size(); ++i) sensitivities_[i].sixteen = gains[i];
    return {};
  }

  Status find_gains_of_float() {
    say("16 bits everywhere miss the goal: trying float layer by layer");
    HAI_TRY(const ir::Graph sixteen, whole_at(kSixteen));
    HAI_TRY(const std::vector<double> gains, gains_without_rounding(sixteen, sixteen_damage_));
    for (size_t i = 0; i < gains.size(); ++i) sensitivities_[i].as_float = gains[i];
    return {};
  }

  void build_front(Widest widest) {
    wide_ = widest != Widest::kEightBits;
    facts_.choices.clear();
    for (size_t i = 0; i < facts_.layers.size(); ++i) {
      const Sensitivity& s = sensitivities_[i];
      const auto choice = [&](const Precision& precision, double damage) {
        return PrecisionChoice{precision, layer_cycles(precision, facts_.layers[i].macs, facts_.layers[i].weights),
                               damage};
      };
      std::vector<PrecisionChoice> choices{choice(kFour, s.four), choice(kEight, 0.0)};
      if (widest != Widest::kEightBits) choices.push_back(choice(kSixteen, -s.sixteen));
      if (widest == Widest::kFloats) choices.push_back(choice(kFloat, -s.sixteen - s.as_float));
      facts_.choices.push_back(std::move(choices));
    }
    facts_.front.clear();
    for (Mixture& mixture : pareto_front(facts_.choices, eight_damage_))
      facts_.front.push_back({std::move(mixture), std::nullopt, std::nullopt});
  }

  Result<ir::Graph> spliced_graph(const Mixture& mixture) {
    std::set<size_t> four;
    bool wide = false;
    for (size_t i = 0; i < facts_.layers.size(); ++i) {
      const Precision& precision = facts_.choices[i][mixture.choices[i]].precision;
      if (precision == kFour) four.insert(i);
      wide = wide || precision == kSixteen || precision == kFloat;
    }
    if (!wide) return at_four(four);
    // 4-bit layers are spliced in where their neighbours allow it; what learned rounding brings the others is verified.
    QuantizeOptions options = options_of(mixture);
    options.adaround = false;
    HAI_TRY(const Quantized base, quantize_with(parts({0, 1}), options));
    std::set<std::string> outputs;
    for (const size_t layer : four)
      outputs.insert(facts_.layers[layer].outputs.begin(), facts_.layers[layer].outputs.end());
    return mix_->with_four_bits(base.graph, outputs);
  }

  bool fits(const DropForecast& forecast) const { return forecast.points_high <= options_.max_drop; }

  void say_measured(std::string_view how, const FrontPoint& point, const DropForecast& m) const {
    say(fmt::format("{} {:.2f} bits a weight: {:.2f} points ({:.2f} to {:.2f})", how,
                    average_weight_bits(facts_, point.mixture), m.points, m.points_low, m.points_high));
  }

  Result<bool> spliced_fits(size_t index) {
    FrontPoint& point = facts_.front[index];
    if (!point.spliced) {
      HAI_TRY(ir::Graph graph, spliced_graph(point.mixture));
      HAI_TRY(point.spliced, evaluate(std::move(graph), choosing_));
      say_measured("measured", point, *point.spliced);
    }
    return fits(*point.spliced);
  }

  // Quantized as it is, on the samples that took no part in choosing.
  Result<bool> verified_fits(size_t index) {
    FrontPoint& point = facts_.front[index];
    say(fmt::format("verifying {:.2f} bits a weight", average_weight_bits(facts_, point.mixture)));
    OutputScores scores = judge_.no_scores();
    const QuantizeOptions options = options_of(point.mixture);
    for (size_t held_back = 0; held_back < kChoosingPart; ++held_back) {
      const std::vector<size_t> others = parts({1 - held_back, kChoosingPart});
      QuantizeHooks hooks;
      if (!wide_) hooks.rounding_cache = &rounded_[held_back];
      HAI_TRY(Quantized quantized, quantize_with(others, options, hooks));
      HAI_TRY_STATUS(judge_.measure(std::move(quantized.graph), judge_.pictures(parts({held_back})), scores));
    }
    point.verified = judge_.forecast(scores);
    say_measured("verified", point, *point.verified);
    return fits(*point.verified);
  }

  // The cheapest mixture of the front whose spliced form fits, by bisection; the last when none does.
  Result<size_t> first_guess() {
    size_t low = 0;
    size_t high = facts_.front.size() - 1;
    HAI_TRY(const bool cheapest, spliced_fits(low));
    if (cheapest) return low;
    while (low + 1 < high) {
      const size_t middle = low + (high - low) / 2;
      HAI_TRY(const bool good, spliced_fits(middle));
      (good ? high : low) = middle;
    }
    return high;
  }

  // The cheapest mixture in [low, high) that should fit when forecasts are as wrong as they were at `at`.
  size_t next_guess(size_t low, size_t high, size_t at) const {
    const DropMapping mapping = map_damage(facts_.front);
    const double forecast = mapping.high.at(facts_.front[at].mixture.damage);
    const double ratio = forecast > 0 ? facts_.front[at].verified->points_high / forecast : 1.0;
    for (size_t i = low; i < high; ++i) {
      if (mapping.high.at(facts_.front[i].mixture.damage) * ratio <= options_.max_drop) return i;
    }
    return high - 1;
  }

  Status choose() {
    const size_t last = facts_.front.size() - 1;
    facts_.chosen = last;
    HAI_TRY(facts_.reached, spliced_fits(last));
    if (!facts_.reached) return {};
    facts_.reached = false;
    HAI_TRY(size_t at, first_guess());
    size_t low = 0;          // cheaper ones do not fit
    size_t high = last + 1;  // the cheapest known to fit
    for (int count = 1;; ++count) {
      HAI_TRY(const bool good, verified_fits(at));
      if (good) {
        high = facts_.chosen = at;
        facts_.reached = true;
      } else {
        low = at + 1;
      }
      if (low >= high) return {};
      if (facts_.reached) {
        const double saved = (facts_.front[high].mixture.cost - facts_.front[low].mixture.cost) / cost_of_eight();
        if (count >= kMostVerified || saved < kWorthVerifying) return {};
        const size_t next = next_guess(low, high, at);
        const double gain = (facts_.front[high].mixture.cost - facts_.front[next].mixture.cost) / cost_of_eight();
        if (gain < kWorthVerifying) return {};
        at = next;
      } else {
        at = count < kMostVerified ? next_guess(low, high, at) : last;
      }
    }
  }

  double cost_of_eight() const {
    double cost = 0;
    for (const MixableLayer& layer : facts_.layers) cost += layer_cycles(kEight, layer.macs, layer.weights);
    return cost;
  }

  const ir::Graph& graph_;
  const QuantizeOptions& options_;
  const OnMixedProgress& progress_;
  MixedJudge judge_;
  std::optional<PrecisionMix> mix_;
  std::vector<MixedJudge::Picture> choosing_;
  std::vector<MixedJudge::Picture> few_;  // for sensitivities
  double eight_damage_ = 0;               // on few_
  double sixteen_damage_ = 0;
  std::vector<Sensitivity> sensitivities_;
  bool wide_ = false;  // some layers may be wider than 8 bits: then scales of others depend on them
  std::array<RoundingCache, kChoosingPart> rounded_;  // by part held back, where scales do not change
  MixedFacts facts_;
};

}  // namespace

Result<MixedResult> search_mixed(const ir::Graph& graph, const NextSample& next, const QuantizeOptions& options,
                                 const OnMixedProgress& progress) {
  MixedSearch search(graph, options, progress);
  HAI_TRY_STATUS(search.run(next));
  return search.finish();
}

}  // namespace hai::quantizer

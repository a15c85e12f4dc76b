// quantize(): canonical form, equalization, plan, calibration, choice of ranges, rewrite, self-check, report.
//
// Each step is a file of its own; this one only strings them together. Samples are read once into a store, since
// several steps want them. Invariant: the result passes ops::verify.
#include "quantizer/quantizer.h"

#include <fmt/format.h>

#include <algorithm>

#include "compiler/compile.h"
#include "ops/build.h"
#include "quantizer/calibrate.h"
#include "quantizer/equalize.h"
#include "quantizer/guards.h"
#include "quantizer/large_results.h"
#include "quantizer/plan.h"
#include "quantizer/prune.h"
#include "quantizer/quantize_steps.h"
#include "quantizer/range_outliers.h"
#include "quantizer/ranges.h"
#include "quantizer/reconstruction.h"
#include "quantizer/report.h"
#include "quantizer/rewrite.h"
#include "quantizer/sample_store.h"
#include "quantizer/self_check.h"
#include "quantizer/whole_model.h"
#include "quantizer/winograd_layers.h"

namespace hai::quantizer {
namespace {

const ir::Value* quantized_value(const ir::Graph& graph) {
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    const ir::Value& value = graph.value(id);
    if (value.alive && value.type.quantization) return &value;
  }
  return nullptr;
}

Status refuse_quantized(const ir::Graph& graph) {
  const ir::Value* value = quantized_value(graph);
  if (value == nullptr) return {};
  return make_error(StatusCode::kInvalidArgument, "Q040",
                    "the model is quantized already (tensor \"{}\" is {}); compile it as it is", value->name,
                    data_type_name(value->type.dtype));
}

// Scales channels of tensors between layers, from a few samples; returns by what.
Result<ChannelScales> equalize_layers(ir::Graph& graph, const SampleStore& store, const std::vector<size_t>& indices,
                                      const QuantizeOptions& options) {
  constexpr size_t kMostSamples = 8;
  ChannelScales scaled;
  if (!options.equalize && !options.smooth) return scaled;
  HAI_TRY(const Plan plan, make_plan(graph, options));
  HAI_TRY(std::vector<ScalableTensor> tensors, scalable_tensors(graph));
  std::erase_if(tensors, [&](const ScalableTensor& tensor) {
    const bool integer =
        std::all_of(tensor.consumers.begin(), tensor.consumers.end(), [&](ir::NodeId id) { return plan.integer[id]; });
    return !integer || !(tensor.affine ? options.smooth : options.equalize);
  });
  if (tensors.empty() || indices.empty()) return scaled;
  Observations seen;
  for (const ScalableTensor& tensor : tensors)
    seen.emplace(tensor.value, RangeObserver(channels_of(graph, tensor.value), true));
  std::vector<size_t> few;
  for (size_t i = 0; i < std::min(kMostSamples, indices.size()); ++i)
    few.push_back(indices[i * indices.size() / std::min(kMostSamples, indices.size())]);
  HAI_TRY(const Calibrated calibrated, calibrate(graph, store.stream(few), store.stream({}), options.threads, seen));
  HAI_TRY(scaled, equalize(graph, tensors, seen));
  if (!scaled.empty()) graph = graph.compact();
  return scaled;
}

std::vector<size_t> others(const std::vector<size_t>& held_back, size_t count) {
  std::vector<size_t> rest;
  for (size_t i = 0; i < count; ++i) {
    if (std::find(held_back.begin(), held_back.end(), i) == held_back.end()) rest.push_back(i);
  }
  return rest;
}

// Prunes in place and measures on samples what that changes.
Result<PruneReport> prune_layers(ir::Graph& graph, SampleStore& store, const std::vector<size_t>& samples,
                                 const QuantizeOptions& options) {
  constexpr int64_t kMostSamples = 8;
  if (options.sparsity == 0) return PruneReport();
  const ir::Graph dense = graph;
  HAI_TRY(PruneReport report, prune(graph, options.sparsity));
  graph = graph.compact();
  HAI_TRY_STATUS(measure_pruning(dense, graph, store.stream(samples), kMostSamples, options.threads, report));
  return report;
}

// The self-check compares with the pruned network, so what pruning costs is judged here.
Status judge_pruning(const PruneReport& report, bool force, std::vector<Warning>& warnings) {
  constexpr double kLeastCosine = 0.5;
  constexpr double kGoodCosine = 0.95;
  for (const PrunedOutput& output : report.outputs) {
    if (output.cosine >= kGoodCosine) continue;
    if (output.cosine < kLeastCosine && !force) {
      return make_error(
          StatusCode::kInvalidArgument, "Q046",
          "with {:.0f} % of the weights zero, output \"{}\" no longer follows the network that was given "
          "(cosine {:.3f}, at least {} is wanted); prune less (sparsity), train the pruned network on, or "
          "pass force to take it as it is",
          100 * report.wanted, output.output, output.cosine, kLeastCosine);
    }
    warnings.push_back(
        {"pruning", output.output,
         fmt::format("with {:.0f} % of the weights zero, output \"{}\" has a cosine of {:.3f} to what it was",
                     100 * report.wanted, output.output, output.cosine),
         "prune less (sparsity), or train the pruned network on"});
  }
  return {};
}

// A collapse is an error unless forced; then, and where the check could not run, a warning.
Status judge(const SelfCheck& check, bool force, std::vector<Warning>& warnings) {
  constexpr double kGoodSqnrDb = 8.0;
  for (const OutputCheck& output : check.outputs) {
    if (!output.collapsed && output.sqnr_db >= kGoodSqnrDb) continue;
    const std::string found = fmt::format(
        "on {} samples held back the quantized output \"{}\" {} the float one (signal over noise {:.1f} dB, "
        "correlation {:.2f}, {} of {} channels lost)",
        check.sample_count, output.output, output.collapsed ? "does not follow" : "follows only roughly",
        output.sqnr_db, output.correlation, output.lost_fields, output.fields);
    const std::string remedy =
        "calibrate with more samples like those the model will see, use observer minmax, give the layers that the "
        "report names 16 bits, or pass force to take the result as it is";
    if (output.collapsed && !force) return make_error(StatusCode::kInvalidArgument, "Q045", "{}; {}", found, remedy);
    warnings.push_back({"self_check", output.output, found, remedy});
  }
  return {};
}

std::string cache_key(const ir::Graph& graph, const Plan& plan, ir::NodeId id) {
  return fmt::format("{} {}", graph.node(id).name, to_string(plan.precision[id]));
}

Result<Reconstruction> round_layers(const ir::Graph& graph, const Plan& plan, const RewriteWith& with,
                                    const SampleStore& store, const std::vector<size_t>& indices,
                                    const QuantizeOptions& options, const QuantizeHooks& hooks) {
  const EachSample each = [&](const std::function<Status(const std::vector<ops::Tensor>&)>& use) -> Status {
    for (const size_t index : indices) {
      HAI_TRY(const SampleStore::Sample sample, store.read(index));
      HAI_TRY_STATUS(use(sample));
    }
    return {};
  };
  GivenWeights known;
  for (ir::NodeId id = 0; hooks.rounding_cache != nullptr && id < graph.node_slots(); ++id) {
    if (!graph.node(id).alive || (!plan.integer[id] && !plan.weight_only[id])) continue;
    const auto found = hooks.rounding_cache->layers.find(cache_key(graph, plan, id));
    if (found != hooks.rounding_cache->layers.end()) known[id] = found->second;
  }
  const RoundedBehind behind = hooks.round_alone ? RoundedBehind::kFloatLayers : RoundedBehind::kRoundedLayers;
  HAI_TRY(Reconstruction out, reconstruct(graph, plan, with, known, each, options, behind, hooks.rounding_progress));
  if (hooks.rounding_cache != nullptr) {
    for (const auto& [id, weights] : out.weights)
      hooks.rounding_cache->layers.emplace(cache_key(graph, plan, id), weights);
  }
  return out;
}

// With a part to train: there must be layers besides.
Status check_frozen_part(const ir::Graph& graph, const Plan& plan, const QuantizeOptions& options) {
  if (options.trainable.empty()) return {};
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    if (graph.node(id).alive && (plan.roles[id] == Role::kMac || plan.half[id] || plan.weight_only[id])) return {};
  }
  return make_error(StatusCode::kInvalidArgument, "Q098",
                    "training \"{}\" reaches every layer, so nothing is frozen that could be quantized; train less "
                    "(trainable=last:2, head), or leave quantization out and quantize the trained model",
                    options.trainable);
}

}  // namespace

bool is_quantized(const ir::Graph& graph) { return quantized_value(graph) != nullptr; }

Result<Quantized> quantize(ir::Graph graph, const NextSample& next, const QuantizeOptions& options,
                           const QuantizeHooks& hooks) {
  HAI_TRY_STATUS(refuse_quantized(graph));
  if (options.max_drop > 0) {
    return make_error(
        StatusCode::kInvalidArgument, "Q059",
        "max_drop asks for a search over the bits of each layer: bit_width \"mixed\", or --quantize mixed");
  }
  HAI_TRY_STATUS(check_weights(graph));
  std::vector<NormStatistics> norms = norm_statistics(graph);
  HAI_TRY_STATUS(options.trainable.empty() ? compiler::canonicalise(graph)
                                           : compiler::canonicalise_for_training(graph, options.trainable));
  graph = graph.compact();
  HAI_TRY_STATUS(check_names(graph, options));  // samples may take minutes to read
  SampleStore store(options.sample_memory_bytes);
  HAI_TRY_STATUS(store.add_all(graph, next));
  const std::vector<size_t> held_back = options.self_check ? held_back_samples(store.size()) : std::vector<size_t>();
  const std::vector<size_t> calibrating = others(held_back, store.size());
  HAI_TRY(const PruneReport pruned, prune_layers(graph, store, calibrating, options));
  HAI_TRY(const ChannelScales equalized, equalize_layers(graph, store, calibrating, options));
  HAI_TRY(Plan plan, make_plan(graph, options));
  HAI_TRY_STATUS(check_frozen_part(graph, plan, options));
  for (NormStatistics& norm : norms) {
    const auto scales = equalized.find(norm.value);
    for (size_t c = 0; scales != equalized.end() && c < norm.means.size(); ++c) {
      norm.means[c] = static_cast<float>(static_cast<double>(norm.means[c]) / scales->second[c]);
      norm.deviations[c] = static_cast<float>(static_cast<double>(norm.deviations[c]) / scales->second[c]);
    }
  }
  const auto watched = watched_norms(graph, norms);
  Observations observations = make_observers(graph, plan, options.bias_correction, options.widen, watched);
  Calibrated calibrated;
  if (!plan.watched.empty() || store.size() > 0) {  // integer weights alone need no samples
    HAI_TRY(calibrated,
            calibrate(graph, store.stream(calibrating), store.stream(held_back), options.threads, observations));
  }
  HAI_TRY(Ranges ranges, choose_ranges(graph, plan, observations, options));
  HAI_TRY(const std::vector<InputNoise> noises, input_noises(graph, plan, ranges, observations));
  std::map<ir::NodeId, Precision> chosen;
  std::vector<Warning> coarse;
  HAI_TRY(const std::vector<InputNoise> widened,
          widen_outliers(graph, observations, noises, options, chosen, plan, ranges, coarse));
  HAI_TRY(const std::vector<LargeResult> large, shrink_multipliers(graph, observations, options, chosen, plan, ranges));
  std::vector<Warning> warnings =
      find_warnings({graph, plan, ranges, observations, norms, watched, static_cast<int64_t>(store.size())});
  warnings.insert(warnings.end(), coarse.begin(), coarse.end());
  for (const LargeResult& result : large) warnings.push_back(to_warning(graph, result));
  HAI_TRY_STATUS(judge_pruning(pruned, options.force, warnings));
  Reconstruction rounding;
  if (options.adaround && store.size() > 0) {
    const RewriteWith with = [&](const GivenWeights& given) {
      return rewrite(graph, plan, ranges, observations, given, options);
    };
    HAI_TRY(rounding, round_layers(graph, plan, with, store, calibrating, options, hooks));
  }
  HAI_TRY(Rewritten rewritten, rewrite(graph, plan, ranges, observations, rounding.weights, options));
  HAI_TRY(const WinogradChoice winograd,
          choose_winograd({graph, plan, ranges, rewritten, store, calibrating, options}));
  if (!winograd.layers.empty()) {
    HAI_TRY(rewritten, rewrite(graph, plan, ranges, observations, rounding.weights, options, winograd.layers));
  }
  if (options.winograd != Winograd::kOff && winograd.rows.empty()) {
    warnings.push_back({"winograd", "",
                        "no layer can run by Winograd, which is for 3x3 convolutions of stride 1 in 8 bits or f16",
                        "leave it off, or quantize such layers to int8 or f16"});
  }
  HAI_TRY_STATUS(ops::verify(rewritten.graph));
  SelfCheck check;
  check.not_run = "switched off";
  if (options.self_check) {
    HAI_TRY(check,
            check_outputs(rewritten.graph, store.stream(held_back), calibrated.held_back_outputs, options.threads));
    HAI_TRY_STATUS(judge(check, options.force, warnings));
  }
  Quantized result;
  if (options.rebuild && !options.trainable.empty()) {
    HAI_TRY(WholeResult whole, make_whole({graph, store, calibrating, options, rounding.weights}));
    result.whole = std::move(whole.model);
    if (!whole.reason.empty()) warnings.push_back({"rebuild", "", whole.reason, "the trained part then runs in f32"});
  }
  result.sample_count = static_cast<int64_t>(store.size());
  for (const Warning& warning : warnings) result.warnings.push_back(to_string(warning));
  result.report_json =
      make_report({graph, plan, ranges, observations, rewritten, warnings, check, options, result.sample_count,
                   static_cast<int64_t>(equalized.size()), widened, noises, rounding.layers, pruned, winograd.rows});
  result.graph = std::move(rewritten.graph);
  return result;
}

}  // namespace hai::quantizer

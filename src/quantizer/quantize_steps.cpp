// Steps of quantize() that are taken twice where a part is trained: for the model whose trained part stays f32, and for
// the whole in integers (whole_model.h). Each choice changes plan and ranges together, so that they fit each other at
// any time.
#include "quantizer/quantize_steps.h"

#include <algorithm>

namespace hai::quantizer {

int64_t channels_of(const ir::Graph& graph, ir::ValueId value) {
  const Shape& shape = graph.value(value).type.shape;
  return shape.empty() || shape.back().is_symbolic() ? 0 : shape.back().value;
}

Observations make_observers(const ir::Graph& graph, const Plan& plan, bool means, bool magnitudes,
                            const std::vector<std::pair<ir::ValueId, size_t>>& norms) {
  Observations observations;
  for (ir::NodeId id = 0; id < graph.node_slots() && (means || magnitudes); ++id) {
    const ir::Node& node = graph.node(id);
    if (!node.alive || !plan.integer[id] || plan.roles[id] != Role::kMac || graph.value(node.inputs[0]).is_constant())
      continue;
    observations.emplace(node.inputs[0], RangeObserver(channels_of(graph, node.inputs[0]), magnitudes));
  }
  for (const auto& [value, index] : norms) observations.emplace(value, RangeObserver(channels_of(graph, value)));
  for (const ir::ValueId value : plan.watched) observations.emplace(value, RangeObserver());
  return observations;
}

Result<std::vector<InputNoise>> widen_outliers(const ir::Graph& graph, const Observations& observations,
                                               const std::vector<InputNoise>& noises, const QuantizeOptions& options,
                                               std::map<ir::NodeId, Precision>& chosen, Plan& plan, Ranges& ranges,
                                               std::vector<Warning>& warnings) {
  std::vector<InputNoise> widened;
  if (!options.widen) return widened;
  Widening widening = layers_to_widen(graph, plan, noises);
  // What the caller chose by name stays.
  const auto is_given = [&](ir::NodeId id) { return options.layers.count(graph.node(id).name) > 0; };
  std::erase_if(widening.layers, is_given);
  for (const InputNoise& left : widening.left) {
    if (!is_given(left.node)) warnings.push_back(to_warning(graph, left));
  }
  if (widening.layers.empty()) return widened;
  for (const ir::NodeId id : widening.layers) {
    chosen[id] = {8, 16, false};
    const auto noise = std::find_if(noises.begin(), noises.end(), [&](const InputNoise& n) { return n.node == id; });
    widened.push_back({id, noise == noises.end() ? 0 : noise->noise_db});
  }
  HAI_TRY(plan, make_plan(graph, options, chosen));
  HAI_TRY(ranges, choose_ranges(graph, plan, observations, options));
  return widened;
}

Result<std::vector<LargeResult>> shrink_multipliers(const ir::Graph& graph, const Observations& observations,
                                                    const QuantizeOptions& options,
                                                    std::map<ir::NodeId, Precision>& chosen, Plan& plan,
                                                    Ranges& ranges) {
  std::vector<LargeResult> all;
  for (;;) {
    HAI_TRY(const std::vector<LargeResult> found, large_results(graph, plan, ranges));
    if (found.empty()) return all;
    for (const LargeResult& result : found) {
      chosen[result.node] = result.after;
      const auto known = std::find_if(all.begin(), all.end(), [&](const auto& r) { return r.node == result.node; });
      if (known == all.end()) {
        all.push_back(result);
      } else {
        known->after = result.after;
      }
    }
    HAI_TRY(plan, make_plan(graph, options, chosen));
    HAI_TRY(ranges, choose_ranges(graph, plan, observations, options));
  }
}

}  // namespace hai::quantizer

// The choice of ranges for a whole graph, and the scales that multipliers need.
//
// Method: one observer's answer for each plan group. Graph inputs keep their whole range (pictures are 8-bit numbers
// already, and whole ranges keep them exact); a tensor that only functions of one tensor read is judged by what they
// make of it. 16-bit groups keep the whole range seen with as much room above it (14 bits of resolution are left, and
// pictures that were not seen do not saturate). Wide rounding points divide the step that 8 bits would have by 16:
// their rounding is then lost beside that of the 8-bit result, they reach 8 times as far, and their tables stay small.
// An answer that some node's multiplier cannot reach is raised to the finest scale that the node can fill: nothing is
// lost, since finer steps than the accumulator's would stay empty. In order, since one tensor's scale is the next
// node's input scale.
#include "quantizer/ranges.h"

#include <algorithm>
#include <cmath>

#include "quantizer/weights.h"
#include "types/quantize_layer.h"
#include "types/unary_functions.h"

namespace hai::quantizer {
namespace {

bool is_zero(const RangeObserver& seen) { return seen.min() == 0.0F && seen.max() == 0.0F; }

// Of no more than what a device observes that makes the range again.
void choose_trained_range(const Plan& plan, ir::ValueId value, const RangeObserver& seen,
                          const QuantizeOptions& options, Ranges& ranges) {
  ranges.eight[value] = seen.choose(Observer::kMinMax, options.symmetric);
  ranges.sixteen[value] =
      plan.point[value]
          ? per_tensor_quantization(ranges.eight[value]->scales[0] / HAI_STEPS_OF_A_POINT, 0)
          : range_quantization(static_cast<double>(seen.min()), static_cast<double>(seen.max()), true, 16);
  if (is_zero(seen)) ranges.eight[value] = ranges.sixteen[value] = per_tensor_quantization(1.0F, 0);
}

// A tensor that was zero on every sample gets a scale like the others' (their geometric mean), so that no multiplier
// leaves its range.
void give_zero_tensors_a_scale(const Observations& observations, const Plan& plan,
                               std::vector<std::optional<Quantization>>& quantization) {
  double log_sum = 0;
  int64_t count = 0;
  for (ir::ValueId value = 0; value < quantization.size(); ++value) {
    if (!quantization[value] || is_zero(observations.at(value))) continue;
    log_sum += std::log(static_cast<double>(quantization[value]->scales[0]));
    ++count;
  }
  const auto scale = static_cast<float>(count > 0 ? std::exp(log_sum / static_cast<double>(count)) : 1.0);
  for (ir::ValueId value = 0; value < quantization.size(); ++value) {
    if (quantization[value] && is_zero(observations.at(value)) && !plan.trained_range[value])
      quantization[value] = per_tensor_quantization(scale, 0);
  }
}

// The functions that read a group, when nothing else does; else empty.
std::vector<RangeObserver::Function> functions_behind(const ir::Graph& graph, const Plan& plan, ir::ValueId group) {
  std::vector<RangeObserver::Function> functions;
  for (ir::ValueId value = 0; value < graph.value_slots(); ++value) {
    if (!graph.value(value).alive || plan.group[value] != group || graph.value(value).is_constant()) continue;
    if (graph.is_output(value)) return {};
    for (const ir::Use& use : graph.value(value).uses) {
      const ir::Node& node = graph.node(use.node);
      const bool inside = plan.integer[use.node] && !node.outputs.empty() && plan.group[node.outputs[0]] == group;
      if (inside) continue;
      const auto number = find_unary_function(node.op);
      if (!plan.integer[use.node] || !is_table(node.op) || !number) return {};
      const UnaryFunction& known = unary_functions()[static_cast<size_t>(*number)];
      const double alpha = node.float_attribute("alpha", known.alpha);
      const double beta = node.float_attribute("beta", known.beta);
      functions.emplace_back([=](double x) { return unary_f64(*number, x, alpha, beta); });
    }
  }
  return functions;
}

Quantization choose_8_bits(const ir::Graph& graph, const Plan& plan, ir::ValueId value, const RangeObserver& seen,
                           const QuantizeOptions& options, Ranges& ranges) {
  if (options.observer == Observer::kMse) {
    if (graph.is_input(value)) return seen.choose(Observer::kMinMax, options.symmetric);
    const auto functions = functions_behind(graph, plan, value);
    ranges.behind_function[value] = !functions.empty();
    if (!functions.empty()) return seen.choose_behind(functions, options.symmetric);
  }
  return seen.choose(options.observer, options.symmetric, options.percentile);
}

void raise(std::optional<Quantization>& quantization, double least) {
  if (quantization) quantization->scales[0] = hai_raised_scale(quantization->scales[0], least);
}

class Raiser {
 public:
  Raiser(const ir::Graph& graph, const Plan& plan, Ranges& ranges) : graph_(graph), plan_(plan), ranges_(ranges) {}

  void visit(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    if (!plan_.integer[id]) return;
    if (plan_.roles[id] == Role::kMac) {
      if (!plan_.float_result[id]) visit_mac(id);
      return;
    }
    if (plan_.roles[id] == Role::kClamp || plan_.roles[id] == Role::kMover) return;    // one scale on both sides
    if (is_table(node.op) || node.op == "softmax" || node.op == "layer_norm") return;  // no multiplier of scales
    const uint32_t output = plan_.group[node.outputs[0]];
    const bool multiplies = node.op == "mul" || node.op == "matmul";
    double least = multiplies ? 1.0 / HAI_LARGEST_USED_MULTIPLIER : 0.0;
    for (const ir::ValueId input : node.inputs) {
      const int bits = takes_bytes(node.op) ? 8 : plan_.bits_of(node.outputs[0]);
      const double scale = scale_of(input, bits, takes_mixed_widths(node.op));
      least = multiplies ? least * scale : std::max(least, scale / HAI_LARGEST_USED_MULTIPLIER);
    }
    raise((plan_.bits[output] == 16 ? ranges_.sixteen : ranges_.eight)[output], least);
    keep_ratio(output);
  }

 private:
  void visit_mac(ir::NodeId id) {
    const ir::Node& node = graph_.node(id);
    const Precision& precision = plan_.precision[id];
    const double input = scale_of(node.inputs[0], precision.activation_bits, false);
    const double least = largest_multiplier(graph_, node, precision, input) / HAI_LARGEST_USED_MULTIPLIER;
    const uint32_t output = plan_.group[node.outputs[0]];
    raise((plan_.result_bits(id, node.outputs[0]) == 16 ? ranges_.sixteen : ranges_.eight)[output], least);
    keep_ratio(output);
  }

  // A tensor may be rescaled from one width to the other.
  void keep_ratio(uint32_t group) {
    if (ranges_.eight[group])
      raise(ranges_.sixteen[group], static_cast<double>(ranges_.eight[group]->scales[0]) / HAI_LARGEST_USED_MULTIPLIER);
  }

  double scale_of(ir::ValueId value, int bits, bool own_width) const {
    if (value == ir::kNone || graph_.value(value).type.dtype != DataType::kF32) return 0;
    if (graph_.value(value).is_constant()) {
      const auto values = floats_of(graph_.value(value));
      float largest = 0.0F;
      for (const float v : values) largest = std::max(largest, std::abs(v));
      return static_cast<double>(largest) / (bits == 16 ? 16383.0 : 127.0);
    }
    if (!ranges_.eight[plan_.group[value]]) return 0;
    return static_cast<double>(ranges_.of(plan_, value, own_width ? plan_.bits_of(value) : bits).scales[0]);
  }

  const ir::Graph& graph_;
  const Plan& plan_;
  Ranges& ranges_;
};

}  // namespace

const Quantization& Ranges::of(const Plan& plan, ir::ValueId value, int bits) const {
  const auto& chosen = (bits == 16 ? sixteen : eight)[plan.group[value]];
  HAI_CHECK(chosen.has_value());
  return *chosen;
}

Result<Ranges> choose_ranges(const ir::Graph& graph, const Plan& plan, const Observations& observations,
                             const QuantizeOptions& options) {
  Ranges ranges;
  ranges.eight.resize(graph.value_slots());
  ranges.sixteen.resize(graph.value_slots());
  ranges.behind_function.resize(graph.value_slots());
  for (const ir::ValueId value : plan.watched) {
    const RangeObserver& seen = observations.at(value);
    if (plan.trained_range[value]) {
      choose_trained_range(plan, value, seen, options, ranges);
      continue;
    }
    ranges.eight[value] = choose_8_bits(graph, plan, value, seen, options, ranges);
    ranges.sixteen[value] =
        plan.point[value]
            ? per_tensor_quantization(ranges.eight[value]->scales[0] / HAI_STEPS_OF_A_POINT, 0)
            : range_quantization(static_cast<double>(seen.min()), static_cast<double>(seen.max()), true, 16);
  }
  give_zero_tensors_a_scale(observations, plan, ranges.eight);
  give_zero_tensors_a_scale(observations, plan, ranges.sixteen);
  for (const ir::ValueId value : plan.watched) {
    if (is_zero(observations.at(value))) ranges.sixteen[value] = ranges.eight[value];
  }
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  Raiser raiser(graph, plan, ranges);
  for (const ir::NodeId id : order) raiser.visit(id);
  return ranges;
}

}  // namespace hai::quantizer

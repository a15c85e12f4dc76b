// quantize(): canonical form, plan, calibration, choice of ranges, rewrite, report.
//
// Each step is a file of its own; this one only strings them together and writes the report. Invariant: the result
// passes ops::verify.
#include "quantizer/quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "compiler/compile.h"
#include "ops/build.h"
#include "quantizer/calibrate.h"
#include "quantizer/plan.h"
#include "quantizer/rewrite.h"

namespace hai::quantizer {
namespace {

using Json = nlohmann::ordered_json;

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

// One observer for each tensor whose range decides, and for each input of a matrix product, whose means correct the
// bias.
Observations make_observers(const ir::Graph& graph, const Plan& plan, bool bias_correction) {
  Observations observations;
  if (bias_correction) {
    for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
      const ir::Node& node = graph.node(id);
      if (!node.alive || !plan.integer[id] || plan.roles[id] != Role::kMac || graph.value(node.inputs[0]).is_constant())
        continue;
      const Shape& shape = graph.value(node.inputs[0]).type.shape;
      observations.emplace(node.inputs[0], RangeObserver(shape.back().is_symbolic() ? 0 : shape.back().value));
    }
  }
  for (const ir::ValueId value : plan.watched) observations.emplace(value, RangeObserver());
  return observations;
}

// A tensor that was zero on every sample gets a scale like the others' (their geometric mean), so that no multiplier
// leaves its range.
void give_zero_tensors_a_scale(const Observations& observations,
                               std::vector<std::optional<Quantization>>& quantization) {
  double log_sum = 0;
  int64_t count = 0;
  const auto is_zero = [&](ir::ValueId value) {
    return observations.at(value).min() == 0.0F && observations.at(value).max() == 0.0F;
  };
  for (ir::ValueId value = 0; value < quantization.size(); ++value) {
    if (!quantization[value] || is_zero(value)) continue;
    log_sum += std::log(static_cast<double>(quantization[value]->scales[0]));
    ++count;
  }
  const double scale = count > 0 ? std::exp(log_sum / static_cast<double>(count)) : 1.0;
  for (ir::ValueId value = 0; value < quantization.size(); ++value) {
    if (quantization[value] && is_zero(value))
      quantization[value] = per_tensor_quantization(static_cast<float>(scale), 0);
  }
}

// A result much finer than the accumulator that makes it (products that cancel, a dead layer) gets the finest scale
// that the accumulator can fill: nothing is lost, and the multiplier s_x * s_w / s_y stays below 2^8. In order, since
// one tensor's scale is the next layer's s_x.
Status raise_unreachable_scales(const ir::Graph& graph, const Plan& plan,
                                std::vector<std::optional<Quantization>>& quantization) {
  constexpr double kLargestMultiplier = 200.0;
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  for (const ir::NodeId id : order) {
    if (!plan.integer[id] || plan.roles[id] != Role::kMac || plan.float_result[id]) continue;
    const ir::Node& node = graph.node(id);
    const auto& input = quantization[plan.group[node.inputs[0]]];
    auto& output = quantization[plan.group[node.outputs[0]]];
    if (!input || !output) continue;
    const auto bytes = graph.value(node.inputs[1]).constant->bytes();
    const std::span<const float> weights(reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float));
    float largest = 0.0F;
    for (const float w : weights) largest = std::max(largest, std::abs(w));
    const double least =
        static_cast<double>(input->scales[0]) * static_cast<double>(largest) / 127.0 / kLargestMultiplier;
    if (static_cast<double>(output->scales[0]) < least) output->scales[0] = static_cast<float>(least);
  }
  return {};
}

std::string make_report(const ir::Graph& graph, const Plan& plan, const Observations& observations,
                        const std::vector<std::optional<Quantization>>& quantization, const Quantized& result,
                        const Rewritten& rewritten, const QuantizeOptions& options) {
  Json report;
  report["method"] = options.symmetric ? "symmetric i8" : "affine i8";
  report["observer"] = observer_name(options.observer);
  report["samples"] = result.sample_count;
  report["warnings"] = result.warnings;
  int64_t integer_nodes = 0;
  int64_t float_nodes = 0;
  Json float_list = Json::array();
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    if (!graph.node(id).alive) continue;
    ++(plan.integer[id] ? integer_nodes : float_nodes);
    if (!plan.integer[id]) float_list.push_back({{"node", graph.node(id).name}, {"op", graph.node(id).op}});
  }
  report["integer_nodes"] = integer_nodes;
  report["float_nodes"] = float_nodes;
  report["float"] = std::move(float_list);
  report["layers"] = Json::array();
  for (const WeightRecord& record : rewritten.weights) {
    report["layers"].push_back({{"node", record.node},
                                {"op", record.op},
                                {"weight_bits", 8},
                                {"weight_sqnr_db", record.sqnr_db},
                                {"zero_channels", record.zero_channels},
                                {"f32_result", record.float_result}});
  }
  report["tensors"] = Json::array();
  for (const ir::ValueId value : plan.watched) {
    const RangeObserver& seen = observations.at(value);
    const Quantization& chosen = *quantization[value];
    report["tensors"].push_back({{"tensor", graph.value(value).name},
                                 {"min", seen.min()},
                                 {"max", seen.max()},
                                 {"scale", chosen.scales[0]},
                                 {"zero_point", chosen.zero_points[0]}});
  }
  return report.dump();
}

}  // namespace

bool is_quantized(const ir::Graph& graph) { return quantized_value(graph) != nullptr; }

Result<Quantized> quantize(ir::Graph graph, const NextSample& next, const QuantizeOptions& options) {
  HAI_TRY_STATUS(refuse_quantized(graph));
  if (options.precision != Precision{} || !options.layers.empty()) {
    return make_error(StatusCode::kUnsupported, "Q041", "precision {} is not supported; w8a8 is",
                      to_string(options.precision));
  }
  HAI_TRY_STATUS(compiler::canonicalise(graph));
  graph = graph.compact();
  HAI_TRY(const Plan plan, make_plan(graph, options.keep_float));
  Observations observations = make_observers(graph, plan, options.bias_correction);
  Quantized result;
  HAI_TRY(result.sample_count, calibrate(graph, next, options.threads, observations));
  std::vector<std::optional<Quantization>> quantization(graph.value_slots());
  for (const ir::ValueId value : plan.watched) {
    const RangeObserver& seen = observations.at(value);
    quantization[value] = seen.choose(options.observer, options.symmetric);
    if (seen.min() == 0.0F && seen.max() == 0.0F) {
      result.warnings.push_back(fmt::format(
          "tensor \"{}\" was zero on every sample: its range is unknown; calibrate with pictures that reach it",
          graph.value(value).name));
    }
  }
  give_zero_tensors_a_scale(observations, quantization);
  HAI_TRY_STATUS(raise_unreachable_scales(graph, plan, quantization));
  HAI_TRY(Rewritten rewritten, rewrite(graph, plan, quantization, observations, {}, options));
  HAI_TRY_STATUS(ops::verify(rewritten.graph));
  result.report_json = make_report(graph, plan, observations, quantization, result, rewritten, options);
  result.graph = std::move(rewritten.graph);
  return result;
}

}  // namespace hai::quantizer

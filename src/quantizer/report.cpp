// The quantizer's report.
//
// JSON with a fixed order of keys, so that the same model, samples and options give the same bytes. Text from models
// (names) is passed through with invalid UTF-8 replaced.
#include "quantizer/report.h"

#include <map>
#include <nlohmann/json.hpp>

namespace hai::quantizer {
namespace {

using Json = nlohmann::ordered_json;

Json warnings_of(const std::vector<Warning>& warnings) {
  Json list = Json::array();
  for (const Warning& warning : warnings) {
    list.push_back(
        {{"id", warning.id}, {"layer", warning.layer}, {"message", warning.message}, {"remedy", warning.remedy}});
  }
  return list;
}

Json check_of(const SelfCheck& check) {
  Json out{{"samples", check.sample_count}};
  if (!check.not_run.empty()) out["not_run"] = check.not_run;
  out["outputs"] = Json::array();
  for (const OutputCheck& output : check.outputs) {
    Json entry{{"output", output.output},           {"sqnr_db", output.sqnr_db}, {"cosine", output.cosine},
               {"correlation", output.correlation}, {"fields", output.fields},   {"lost_fields", output.lost_fields},
               {"collapsed", output.collapsed}};
    if (output.agreement >= 0) entry["agreement"] = output.agreement;
    out["outputs"].push_back(std::move(entry));
  }
  return out;
}

// Relative errors of the layer's outputs, before and after AdaRound.
void add_rounding(const std::string& node, const std::vector<LayerRounding>& rounding, Json& entry) {
  for (const LayerRounding& layer : rounding) {
    if (layer.name != node) continue;
    entry["rounding"] = {{"error_nearest", layer.error_nearest},
                         {"error_solved", layer.error_solved},
                         {"error", layer.error},
                         {"rows", layer.rows}};
    return;
  }
}

Json layers_of(const ReportInput& input) {
  std::map<std::string, double> noise_db;
  for (const InputNoise& noise : input.noises) noise_db[input.graph.node(noise.node).name] = noise.noise_db;
  Json list = Json::array();
  for (const WeightRecord& record : input.rewritten.weights) {
    list.push_back({{"node", record.node},
                    {"op", record.op},
                    {"precision", to_string(record.precision)},
                    {"weight_bits", record.precision.weight_bits},
                    {"activation_bits", record.precision.activation_bits},
                    {"weight_sqnr_db", record.sqnr_db},
                    {"zero_channels", record.zero_channels},
                    {"f32_result", record.float_result}});
    const auto noise = noise_db.find(record.node);
    if (noise != noise_db.end()) list.back()["input_noise_db"] = noise->second;
    add_rounding(record.node, input.rounding, list.back());
  }
  return list;
}

Json pruning_of(const PruneReport& pruned) {
  Json out{{"sparsity", pruned.wanted},        {"weights", pruned.weight_count}, {"zeros", pruned.zero_count},
           {"weight_sqnr_db", pruned.sqnr_db}, {"samples", pruned.sample_count}, {"outputs", Json::array()},
           {"layers", Json::array()}};
  for (const PrunedOutput& output : pruned.outputs) {
    out["outputs"].push_back({{"output", output.output}, {"sqnr_db", output.sqnr_db}, {"cosine", output.cosine}});
  }
  for (const PrunedLayer& layer : pruned.layers) {
    out["layers"].push_back({{"node", layer.node},
                             {"op", layer.op},
                             {"weights", layer.weight_count},
                             {"zeros", layer.zero_count},
                             {"weight_sqnr_db", layer.sqnr_db}});
  }
  return out;
}

Json form_of(const WinogradRow::Form& form) {
  Json out{{"modelled_cycles", form.cycles}};
  if (form.impossible.empty()) {
    out["sqnr_db"] = form.sqnr_db;
  } else {
    out["impossible"] = form.impossible;
  }
  return out;
}

Json winograd_of(const ReportInput& input) {
  Json out{{"choice", winograd_name(input.options.winograd)},
           {"loss_db", input.options.winograd_loss_db},
           {"layers", Json::array()}};
  for (const WinogradRow& row : input.winograd) {
    out["layers"].push_back({{"node", row.node},
                             {"tile", row.tile},
                             {"reason", row.reason},
                             {"direct", form_of(row.direct)},
                             {"f2", form_of(row.f2)},
                             {"f4", form_of(row.f4)}});
  }
  return out;
}

int64_t constant_bytes(const ir::Graph& graph) {
  int64_t bytes = 0;
  for (ir::ValueId id = 0; id < graph.value_slots(); ++id) {
    const ir::Value& value = graph.value(id);
    if (value.alive && value.is_constant() && !value.uses.empty())
      bytes += static_cast<int64_t>(value.constant->bytes().size());
  }
  return bytes;
}

Json tensors_of(const ReportInput& input) {
  Json list = Json::array();
  for (const ir::ValueId value : input.plan.watched) {
    const RangeObserver& seen = input.observations.at(value);
    const Quantization& chosen = input.ranges.of(input.plan, value);
    list.push_back({{"tensor", input.graph.value(value).name},
                    {"bits", input.plan.bits[value]},
                    {"min", seen.min()},
                    {"max", seen.max()},
                    {"scale", chosen.scales[0]},
                    {"zero_point", chosen.zero_points[0]},
                    {"clipped_share", input.plan.bits[value] == 8 ? seen.clipped_share(chosen) : 0.0}});
  }
  return list;
}

}  // namespace

std::string make_report(const ReportInput& input) {
  Json report;
  report["method"] = input.options.symmetric ? "symmetric" : "affine";
  report["precision"] = to_string(input.options.precision);
  report["observer"] = observer_name(input.options.observer);
  report["samples"] = input.sample_count;
  report["equalized_pairs"] = input.equalized;
  report["widened"] = Json::array();
  for (const InputNoise& layer : input.widened) report["widened"].push_back(input.graph.node(layer.node).name);
  report["weights"] = {{"float_bytes", constant_bytes(input.graph)},
                       {"integer_bytes", constant_bytes(input.rewritten.graph)}};
  if (input.pruned.wanted > 0) report["pruning"] = pruning_of(input.pruned);
  report["warnings"] = warnings_of(input.warnings);
  report["self_check"] = check_of(input.check);
  if (input.options.winograd != Winograd::kOff) report["winograd"] = winograd_of(input);
  int64_t integer_nodes = 0;
  int64_t float_nodes = 0;
  Json float_list = Json::array();
  Json half_list = Json::array();
  for (ir::NodeId id = 0; id < input.graph.node_slots(); ++id) {
    const ir::Node& node = input.graph.node(id);
    if (!node.alive) continue;
    ++(input.plan.integer[id] ? integer_nodes : float_nodes);
    if (input.plan.half[id]) {
      half_list.push_back({{"node", node.name}, {"op", node.op}});
    } else if (!input.plan.integer[id] && !input.plan.weight_only[id])
      float_list.push_back({{"node", node.name}, {"op", node.op}});
  }
  report["integer_nodes"] = integer_nodes;
  report["float_nodes"] = float_nodes;
  report["float"] = std::move(float_list);
  report["f16"] = std::move(half_list);
  report["layers"] = layers_of(input);
  report["tensors"] = tensors_of(input);
  return report.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace hai::quantizer

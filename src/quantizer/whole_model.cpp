// Quantizing the whole of a model that will be trained.
//
// Method: what a training reaches keeps its batch norms in the graph that is trained; here they are folded, with a list
// of what went where, and the model is planned, calibrated and rewritten like any other, but that trained nodes get
// what a device can compute again. Then the same once more from other parameters and ranges, each range with a scale of
// its own, by which compile() recognises where it went. Lines are made in the order of the graph, as ranges.cpp raises
// scales. What has no line is a reason, not an error: such a model is trained in f32 all the same.
#include "quantizer/whole_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "ops/build.h"
#include "passes/passes.h"
#include "passes/trainable_parameters.h"
#include "quantizer/quantize_steps.h"
#include "quantizer/rewrite.h"

namespace hai::quantizer {
namespace {

using rebuild::LayerLine;
using rebuild::RaiseLine;
using rebuild::RangeLine;
using rebuild::Scale;
using rebuild::Stage;

// A layer as it was before anything was folded into it; by the name of its own result.
struct Unfolded {
  std::string weights;
  std::string bias;  // empty: none
  std::vector<passes::Folding> foldings;
  std::string result;  // the value that holds its result, in the graph with batch norms
};

struct FoldedGraph {
  ir::Graph graph;  // compact
  std::map<std::string, Unfolded> layers;
  std::set<std::string> trained;  // values that trained nodes make
};

bool is_layer(const ir::Node& node) {
  return node.op == "conv2d" || node.op == "conv_transpose2d" || node.op == "matmul";
}

std::string name_of(const ir::Graph& graph, const ir::Node& node, size_t operand) {
  if (operand >= node.inputs.size() || node.inputs[operand] == ir::kNone) return {};
  return graph.value(node.inputs[operand]).name;
}

Result<FoldedGraph> fold(const ir::Graph& unfolded, const std::vector<bool>& trained) {
  FoldedGraph out;
  out.graph = unfolded;
  std::vector<passes::Folding> foldings;
  HAI_TRY_STATUS(passes::fold_batch_norm_but(out.graph, std::vector<bool>(unfolded.node_slots(), false), &foldings));
  std::set<std::string> trained_values;
  for (ir::NodeId id = 0; id < unfolded.node_slots(); ++id) {
    const ir::Node& node = unfolded.node(id);
    if (!node.alive || !trained[id]) continue;
    for (const ir::ValueId output : node.outputs) trained_values.insert(unfolded.value(output).name);
  }
  for (ir::NodeId id = 0; id < unfolded.node_slots(); ++id) {
    if (!out.graph.node(id).alive) continue;
    const ir::Node& node = unfolded.node(id);
    bool reached = trained[id];
    Unfolded layer{name_of(unfolded, node, 1), name_of(unfolded, node, 2), {}, unfolded.value(node.outputs[0]).name};
    for (const passes::Folding& folding : foldings) {
      if (folding.into != id) continue;
      reached = reached || trained_values.contains(folding.output);
      layer.result = folding.output;
      layer.foldings.push_back(folding);
    }
    for (const ir::ValueId output : out.graph.node(id).outputs) {
      if (reached) out.trained.insert(out.graph.value(output).name);
    }
    if (is_layer(node)) out.layers.emplace(out.graph.value(out.graph.node(id).outputs[0]).name, std::move(layer));
  }
  out.graph = out.graph.compact();
  return out;
}

// The same model with other numbers wherever a training may change them.
ir::Graph with_other_parameters(const ir::Graph& graph, const std::vector<passes::Parameter>& parameters,
                                const std::vector<bool>& trained) {
  ir::Graph out = graph;
  std::set<ir::ValueId> changed;
  for (const passes::Parameter& parameter : parameters) changed.insert(parameter.value);
  for (ir::NodeId id = 0; id < graph.node_slots(); ++id) {
    const ir::Node& node = graph.node(id);
    if (!node.alive || !trained[id] || node.op != "batch_norm") continue;
    for (const ir::ValueId input : node.inputs) {
      if (graph.value(input).is_constant()) changed.insert(input);
    }
  }
  for (const ir::ValueId id : changed) {
    const auto values = floats_of(graph.value(id));
    auto data = ir::ConstantData::allocate(values.size() * sizeof(float));
    auto* to = reinterpret_cast<float*>(data->mutable_bytes().data());
    for (size_t i = 0; i < values.size(); ++i) to[i] = values[i] * 1.03125F + 0.00390625F;
    out.value(id).constant = std::move(data);
  }
  return out;
}

class WholeMaker {
 public:
  WholeMaker(const WholeInput& input, FoldedGraph folded, QuantizeOptions options)
      : input_(input), folded_(std::move(folded)), options_(std::move(options)) {}

  Status quantize() {
    const ir::Graph& graph = folded_.graph;
    HAI_TRY(plan_, make_plan(graph, options_));
    observations_ = make_observers(graph, plan_, options_.bias_correction, options_.widen, {});
    HAI_TRY_STATUS(calibrate(graph, input_.store.stream(input_.samples), input_.store.stream({}), options_.threads,
                             observations_));
    HAI_TRY(ranges_, choose_ranges(graph, plan_, observations_, options_));
    HAI_TRY(const std::vector<InputNoise> noises, input_noises(graph, plan_, ranges_, observations_));
    std::map<ir::NodeId, Precision> chosen;
    std::vector<Warning> coarse;
    HAI_TRY_STATUS(widen_outliers(graph, observations_, noises, options_, chosen, plan_, ranges_, coarse));
    HAI_TRY_STATUS(shrink_multipliers(graph, observations_, options_, chosen, plan_, ranges_));
    for (const auto& [id, weights] : input_.given) {
      const auto value = graph.find_value(input_.graph.value(input_.graph.node(id).outputs[0]).name);
      if (value && graph.value(*value).producer != ir::kNone) given_[graph.value(*value).producer] = weights;
    }
    return {};
  }

  // Empty: all of the trained part has lines.
  Result<std::string> make_lines() {
    HAI_TRY(const std::vector<ir::NodeId> order, folded_.graph.ordered());
    number_ranges();
    for (const ir::NodeId id : order) {
      if (!plan_.trained[id] || plan_.roles[id] != Role::kMac || !plan_.integer[id]) continue;
      if (const std::string reason = add_layer(id); !reason.empty()) return reason;
    }
    for (const ir::NodeId id : order) add_raise(id);
    if (model_.lines.layers.empty()) return std::string("none of the layers that are trained becomes integer");
    return std::string();
  }

  Result<std::shared_ptr<const compiler::WholeModel>> rewrite_both(const ir::Graph& other) {
    HAI_TRY(Rewritten rewritten, rewrite(folded_.graph, plan_, ranges_, observations_, given_, options_));
    for (size_t i = 0; i < layers_.size(); ++i) {
      const ir::Node& node = rewritten.graph.node(rewritten.nodes[layers_[i]]);
      model_.weights.push_back(rewritten.graph.value(node.inputs[1]).name);
      model_.biases.push_back(rewritten.graph.value(node.inputs[2]).name);
    }
    mark_ranges();
    HAI_TRY(Rewritten marked, rewrite(other, plan_, ranges_, observations_, given_, options_));
    model_.graph = std::move(rewritten.graph);
    model_.marked = std::move(marked.graph);
    return std::shared_ptr<const compiler::WholeModel>(std::make_shared<compiler::WholeModel>(std::move(model_)));
  }

 private:
  // The value in the graph with batch norms that is this one.
  std::string observed_name(ir::ValueId value) const {
    const std::string& name = folded_.graph.value(value).name;
    const auto layer = folded_.layers.find(name);
    return layer == folded_.layers.end() ? name : layer->second.result;
  }

  void number_ranges() {
    number_.assign(folded_.graph.value_slots(), Scale::kFixed);
    for (const ir::ValueId value : plan_.watched) {
      if (!plan_.trained_range[value]) continue;
      number_[value] = static_cast<int64_t>(model_.lines.ranges.size());
      RangeLine line;
      line.value = observed_name(value);
      line.symmetric = options_.symmetric;
      line.point = plan_.point[value];
      model_.lines.ranges.push_back(std::move(line));
      const RangeObserver& seen = observations_.at(value);
      model_.seen.push_back({seen.min(), seen.max()});
      values_.push_back(value);
    }
  }

  Scale scale_of(ir::ValueId value, int bits) const {
    const int64_t number = number_[plan_.group[value]];
    if (number != Scale::kFixed) return {number, bits == 16, 0};
    return {Scale::kFixed, false, static_cast<double>(ranges_.of(plan_, value, bits).scales[0])};
  }

  std::string add_layer(ir::NodeId id) {
    const ir::Graph& graph = folded_.graph;
    const ir::Node& node = graph.node(id);
    const auto found = folded_.layers.find(graph.value(node.outputs[0]).name);
    const Precision& precision = plan_.precision[id];
    if (found == folded_.layers.end() || precision.weight_bits == 4 || given_.contains(id)) {
      return fmt::format("layer \"{}\" has {}, which a device does not round again; give it w8a8", node.name,
                         to_string(precision));
    }
    const Unfolded& layer = found->second;
    LayerLine line;
    line.name = node.name;
    line.weights.name = layer.weights;
    if (!layer.bias.empty()) line.bias.push_back({layer.bias, 0, {}});
    for (const passes::Folding& folding : layer.foldings) line.stages.push_back(stage_of(folding));
    const ChannelLayout layout = layout_of(node, graph.value(node.inputs[1]).type.shape);
    line.channels = layout.channels;
    line.inner = layout.inner;
    line.weight_bits = precision.weight_bits;
    line.bias_limit = bias_limit(precision);
    line.input = scale_of(node.inputs[0], precision.activation_bits);
    if (!plan_.float_result[id]) line.output = scale_of(node.outputs[0], plan_.result_bits(id, node.outputs[0]));
    line_of_[id] = static_cast<int64_t>(layers_.size());
    layers_.push_back(id);
    model_.lines.layers.push_back(std::move(line));
    return {};
  }

  static Stage stage_of(const passes::Folding& folding) {
    Stage stage;
    stage.kind = folding.op == "batch_norm" ? Stage::Kind::kBatchNorm
                 : folding.op == "add"      ? Stage::Kind::kAdd
                 : folding.op == "mul"      ? Stage::Kind::kMultiply
                 : folding.op == "div"      ? Stage::Kind::kDivide
                 : folding.value_is_left    ? Stage::Kind::kSubtract
                                            : Stage::Kind::kSubtractFrom;
    stage.epsilon = folding.epsilon;
    for (const std::string& constant : folding.constants) stage.constants.push_back({constant, 0, {}});
    return stage;
  }

  // As ranges.cpp raises the scale of what the node makes.
  void add_raise(ir::NodeId id) {
    const ir::Node& node = folded_.graph.node(id);
    if (!plan_.integer[id] || plan_.float_result[id]) return;
    const uint32_t group = plan_.group[node.outputs[0]];
    RaiseLine line;
    line.range = number_[group];
    if (line.range == Scale::kFixed) return;
    if (plan_.roles[id] == Role::kMac) {
      line.kind = RaiseLine::Kind::kLayer;
      line.layer = line_of_.at(id);
      line.wide = plan_.result_bits(id, node.outputs[0]) == 16;
      model_.lines.raises.push_back(std::move(line));
      return;
    }
    const Role role = plan_.roles[id];
    const bool shares = role == Role::kClamp || role == Role::kMover || is_table(node.op) || node.op == "softmax" ||
                        node.op == "layer_norm";
    if (shares) return;
    line.wide = plan_.bits[group] == 16;
    line.kind = node.op == "mul" || node.op == "matmul" ? RaiseLine::Kind::kProduct : RaiseLine::Kind::kLargest;
    for (const ir::ValueId input : node.inputs) line.inputs.push_back(operand_scale(node, input));
    model_.lines.raises.push_back(std::move(line));
  }

  Scale operand_scale(const ir::Node& node, ir::ValueId input) const {
    const ir::Graph& graph = folded_.graph;
    if (input == ir::kNone || graph.value(input).type.dtype != DataType::kF32) return {Scale::kFixed, false, 0};
    const int own = takes_bytes(node.op) ? 8 : plan_.bits_of(node.outputs[0]);
    if (graph.value(input).is_constant()) {
      float largest = 0.0F;
      for (const float v : floats_of(graph.value(input))) largest = std::max(largest, std::abs(v));
      return {Scale::kFixed, false, static_cast<double>(largest) / (own == 16 ? 16383.0 : 127.0)};
    }
    if (!ranges_.eight[plan_.group[input]]) return {Scale::kFixed, false, 0};
    return scale_of(input, takes_mixed_widths(node.op) ? plan_.bits_of(input) : own);
  }

  // Other scales, no two of them equal, and other zero points.
  void mark_ranges() {
    for (size_t i = 0; i < values_.size(); ++i) {
      Quantization& narrow = *ranges_.eight[values_[i]];
      Quantization& wide = *ranges_.sixteen[values_[i]];
      const float factor = 1.0F + static_cast<float>(i + 1) * 0x1p-12F;
      narrow.scales[0] *= factor;
      wide.scales[0] *= factor * 1.0625F;
      const auto taken = [&](float scale) {
        return std::any_of(model_.marks.begin(), model_.marks.end(), [&](const compiler::WholeModel::Mark& mark) {
          return mark.narrow == scale || mark.wide == scale;
        });
      };
      while (taken(narrow.scales[0])) narrow.scales[0] *= 1.0F + 0x1p-20F;
      while (taken(wide.scales[0]) || wide.scales[0] == narrow.scales[0]) wide.scales[0] *= 1.0F + 0x1p-20F;
      if (!options_.symmetric) narrow.zero_points[0] += narrow.zero_points[0] < 127 ? 1 : -1;
      model_.marks.push_back({narrow.scales[0], wide.scales[0]});
    }
  }

  const WholeInput& input_;
  FoldedGraph folded_;
  QuantizeOptions options_;
  Plan plan_;
  Ranges ranges_;
  Observations observations_;
  GivenWeights given_;
  compiler::WholeModel model_;
  std::vector<int64_t> number_;      // by value slot: of the range whose representative it is
  std::vector<ir::ValueId> values_;  // of each range
  std::vector<ir::NodeId> layers_;   // of each layer's line
  std::map<ir::NodeId, int64_t> line_of_;
};

}  // namespace

Result<WholeResult> make_whole(const WholeInput& input) {
  WholeResult result;
  const Precision& precision = input.options.precision;
  if (precision.is_half || precision.is_float || precision.weight_only() || precision.weight_bits == 4) {
    result.reason = fmt::format("a model of {} is not rebuilt after a training, one of int8 is", to_string(precision));
    return result;
  }
  HAI_TRY(const std::vector<passes::Parameter> parameters,
          passes::trainable_parameters(input.graph, input.options.trainable));
  HAI_TRY(const std::vector<bool> trained, passes::trained_nodes(input.graph, parameters));
  HAI_TRY(FoldedGraph folded, fold(input.graph, trained));
  HAI_TRY(const FoldedGraph other, fold(with_other_parameters(input.graph, parameters, trained), trained));
  QuantizeOptions options = input.options;
  options.trainable.clear();
  options.trained_values = folded.trained;
  options.winograd = Winograd::kOff;
  WholeMaker maker(input, std::move(folded), std::move(options));
  HAI_TRY_STATUS(maker.quantize());
  HAI_TRY(result.reason, maker.make_lines());
  if (!result.reason.empty()) return result;
  HAI_TRY(result.model, maker.rewrite_both(other.graph));
  return result;
}

}  // namespace hai::quantizer

// Splits a step of training where its frozen part ends.
//
// Method: what depends on a state, on the target or on the learning rate varies; everything else gives the same for a
// sample in each step. A value that does not vary and that a varying node reads is a feature. Both graphs are copies of
// the nodes that they need, in order, under the old names, so that the same operators run on the same numbers as in
// one graph. Not here: what is trained (trainable_parameters.h).
#include "passes/split_frozen.h"

#include <algorithm>
#include <map>
#include <vector>

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::Node;
using ir::NodeId;
using ir::ValueId;

bool has_weights(const Node& node) {
  return node.op == "conv2d" || node.op == "conv_transpose2d" || node.op == "matmul" || node.op == "winograd_conv2d";
}

// Copies nodes of one graph into another that begins at given inputs.
class Extract {
 public:
  Extract(const Graph& from, std::vector<ValueId> inputs) : from_(from) {
    out_.name = from.name;
    out_.symbols = from.symbols;
    for (const ValueId input : inputs) copies_[input] = out_.add_input(from.value(input).name, from.value(input).type);
  }

  void add(NodeId id) {
    const Node& node = from_.node(id);
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(copy_of(input));
    std::vector<ir::TensorType> types;
    std::vector<std::string> names;
    for (const ValueId output : node.outputs) {
      types.push_back(from_.value(output).type);
      names.push_back(from_.value(output).name);
    }
    const NodeId made =
        out_.add_node(node.op, std::move(inputs), std::move(types), node.attributes, node.name, std::move(names));
    for (size_t i = 0; i < node.outputs.size(); ++i) copies_[node.outputs[i]] = out_.node(made).outputs[i];
  }

  void add_output(ValueId value) { out_.add_output(copy_of(value)); }
  Graph take() { return std::move(out_); }

 private:
  ValueId copy_of(ValueId value) {
    if (value == kNone) return kNone;
    const auto found = copies_.find(value);
    if (found != copies_.end()) return found->second;
    const ir::Value& source = from_.value(value);
    HAI_CHECK(source.is_constant());
    return copies_[value] = out_.add_constant(source.name, source.type, source.constant);
  }

  const Graph& from_;
  Graph out_;
  std::map<ValueId, ValueId> copies_;
};

class Splitter {
 public:
  Splitter(const Graph& step, size_t model_inputs, std::vector<NodeId> order)
      : step_(step), model_inputs_(model_inputs), order_(std::move(order)) {}

  std::optional<SplitStep> run() {
    find_varying();
    if (!find_features()) return std::nullopt;
    mark_frozen();
    const auto is_weighted = [&](NodeId id) { return frozen_[id] && has_weights(step_.node(id)); };
    if (std::none_of(order_.begin(), order_.end(), is_weighted)) return std::nullopt;
    SplitStep split;
    const auto first = step_.inputs().begin();
    const auto own = first + static_cast<ptrdiff_t>(model_inputs_);
    Extract front(step_, {first, own});
    for (const NodeId id : order_) {
      if (frozen_[id]) front.add(id);
    }
    for (const ValueId feature : features_) front.add_output(feature);
    split.frozen = front.take();
    std::vector<ValueId> inputs = features_;
    inputs.insert(inputs.end(), own, step_.inputs().end());
    Extract rest(step_, std::move(inputs));
    for (const NodeId id : order_) {
      if (varies_[id] || moved_[id]) rest.add(id);
    }
    for (const ValueId output : step_.outputs()) rest.add_output(output);
    split.rest = rest.take();
    split.rest.states = step_.states;
    for (ir::State& state : split.rest.states) state.input = state.input - model_inputs_ + features_.size();
    return split;
  }

 private:
  void find_varying() {
    varying_.assign(step_.value_slots(), false);
    varies_.assign(step_.node_slots(), false);
    for (size_t i = model_inputs_; i < step_.inputs().size(); ++i) varying_[step_.inputs()[i]] = true;
    for (const NodeId id : order_) {
      const Node& node = step_.node(id);
      varies_[id] = std::any_of(node.inputs.begin(), node.inputs.end(),
                                [&](ValueId input) { return input != kNone && varying_[input]; });
      for (const ValueId output : node.outputs) varying_[output] = varies_[id];
    }
  }

  // False where the rest needs something that cannot be a feature.
  bool find_features() {
    moved_.assign(step_.node_slots(), false);
    for (const NodeId id : order_) {
      for (const ValueId input : step_.node(id).inputs) {
        if (varies_[id] && input != kNone && !varying_[input] && !step_.value(input).is_constant() && !add(input))
          return false;
      }
    }
    return std::all_of(step_.outputs().begin(), step_.outputs().end(),
                       [&](ValueId output) { return varying_[output]; });
  }

  bool add(ValueId value) {
    const NodeId producer = step_.value(value).producer;
    if (producer == kNone) return false;
    const Node& node = step_.node(producer);
    if (node.op == "dequantize" && step_.value(node.inputs[0]).producer != kNone) {
      moved_[producer] = true;
      value = node.inputs[0];
    }
    if (std::find(features_.begin(), features_.end(), value) == features_.end()) features_.push_back(value);
    return true;
  }

  // What the features are made of.
  void mark_frozen() {
    frozen_.assign(step_.node_slots(), false);
    std::vector<bool> needed(step_.value_slots(), false);
    for (const ValueId feature : features_) needed[feature] = true;
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      const Node& node = step_.node(*it);
      frozen_[*it] =
          std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId output) { return needed[output]; });
      if (!frozen_[*it]) continue;
      for (const ValueId input : node.inputs) {
        if (input != kNone) needed[input] = true;
      }
    }
  }

  const Graph& step_;
  size_t model_inputs_;
  std::vector<NodeId> order_;
  std::vector<bool> varying_;  // by value slot
  std::vector<bool> varies_;   // by node slot
  std::vector<bool> moved_;    // a dequantize that the rest does itself
  std::vector<bool> frozen_;
  std::vector<ValueId> features_;
};

}  // namespace

Result<std::optional<SplitStep>> split_frozen(const Graph& step, size_t model_inputs) {
  HAI_TRY(std::vector<NodeId> order, step.ordered());
  return Splitter(step, model_inputs, std::move(order)).run();
}

}  // namespace hai::passes

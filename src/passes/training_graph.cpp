// Builds the training step in the graph of the model: constants become states, the loss is taken of an output,
// differentiate() adds the backward part, every parameter gets its update.
//
// Updates wait for the norm of all gradients: only then is it known that the whole step is sound, and clipping needs it
// anyway. That keeps all gradients of parameters alive at once (as large as the parameters themselves), which is the
// price of never leaving a half-applied step behind. A parameter that the loss does not depend on stays a constant.
#include "passes/training_graph.h"

#include <algorithm>

#include "ops/build.h"
#include "ops/gradient.h"
#include "passes/differentiate.h"
#include "passes/fake_quantize_layers.h"
#include "types/optimizer_step.h"

namespace hai::passes {
namespace {

using ir::Graph;
using ir::kNone;
using ir::ValueId;

// The constant as a graph input under its name; readers of the constant read the input.
ValueId constant_to_input(Graph& graph, ValueId constant) {
  const std::string name = graph.value(constant).name;
  graph.rename_value(constant, name + "/initial");
  const ValueId input = graph.add_input(name, graph.value(constant).type);
  graph.replace_uses(constant, input);
  return input;
}

bool contains(std::span<const Parameter> parameters, ValueId value) {
  return std::any_of(parameters.begin(), parameters.end(), [&](const Parameter& p) { return p.value == value; });
}

// Batch norms that are normalised by the statistics of the batch.
std::vector<ir::NodeId> trained_batch_norms(const Graph& graph, const TrainingOptions& options,
                                            std::span<const Parameter> parameters) {
  std::vector<ir::NodeId> out;
  for (ir::NodeId id = 0; id < graph.node_slots() && options.batch_norm == "train"; ++id) {
    const ir::Node& node = graph.node(id);
    if (!node.alive || node.op != "batch_norm") continue;
    const bool statistics = graph.value(node.inputs[3]).is_constant() && graph.value(node.inputs[4]).is_constant();
    if (statistics && (contains(parameters, node.inputs[1]) || contains(parameters, node.inputs[2]))) out.push_back(id);
  }
  return out;
}

class TrainingGraph {
 public:
  TrainingGraph(Graph& graph, const TrainingOptions& options) : graph_(graph), options_(options) {}

  Status run(std::span<const Parameter> parameters) {
    HAI_TRY_STATUS(check_optimizer());
    HAI_TRY(const size_t output, output_index());
    HAI_TRY_STATUS(fake_quantize_layers(graph_, options_.qat, parameters));
    for (const ir::NodeId id : trained_batch_norms(graph_, options_, parameters)) HAI_TRY_STATUS(train_batch_norm(id));
    add_numbers(output);
    std::vector<ValueId> wanted;
    for (const Parameter& parameter : parameters) {
      HAI_TRY_STATUS(split_bias(graph_, parameter.value));
      wanted.push_back(parameter.value);
    }
    HAI_TRY(loss_, append_loss(graph_, options_.loss, prediction(output), target_));
    HAI_TRY(std::vector<ValueId> gradients, differentiate(graph_, loss_, wanted));
    if (options_.ewc) HAI_TRY_STATUS(add_penalties(wanted, gradients));
    if (accumulates()) HAI_TRY_STATUS(accumulate(wanted, gradients));
    HAI_TRY_STATUS(add_norm(gradients));
    guard_ = norm_;
    if (accumulates()) {
      HAI_TRY(guard_, ops::append_value(graph_, "add", {norm_, gate_}, {}, {"gradient_norm/gate", {}, {}, 1}));
    }
    graph_.rename_value(loss_, "loss");
    graph_.add_output(loss_);
    graph_.add_output(norm_);
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (gradients[i] == kNone) continue;
      HAI_TRY_STATUS(is_fisher() ? add_fisher(parameters[i], gradients[i]) : add_update(parameters[i], gradients[i]));
    }
    for (const Statistic& sum : sums_) HAI_TRY_STATUS(add_guarded(sum.constant, sum.next, norm_, nullptr));
    for (const ValueId kept : kept_) add_state(kept, kNone, nullptr, false);
    for (const Statistic& statistic : statistics_) HAI_TRY_STATUS(add_statistic(statistic));
    return {};
  }

 private:
  // A running statistic: the constant that it was, and what it becomes. A sum of gradients: the input that it was.
  struct Statistic {
    ValueId constant = kNone;
    ValueId next = kNone;
  };

  bool is_adam() const { return options_.optimizer.kind == "adam" || options_.optimizer.kind == "adamw"; }
  bool is_fisher() const { return options_.optimizer.kind == "fisher"; }
  bool accumulates() const { return options_.optimizer.accumulate > 1; }

  Status check_optimizer() const {
    if (options_.batch_norm != "train" && options_.batch_norm != "frozen") {
      return make_error(StatusCode::kNotFound, "P543",
                        "there is no mode \"{}\" of batch norms; modes are train, frozen", options_.batch_norm);
    }
    const std::string& kind = options_.optimizer.kind;
    const int64_t accumulate = options_.optimizer.accumulate;
    const double ema = options_.optimizer.ema;
    if (accumulate < 1 || accumulate > HAI_MOST_ACCUMULATED || !(ema >= 0 && ema < 1)) {
      return make_error(StatusCode::kOutOfRange, "P547",
                        "accumulate is {}, ema {}: the first is a whole number from 1 to {}, the second at least 0 and "
                        "below 1",
                        accumulate, ema, int64_t{HAI_MOST_ACCUMULATED});
    }
    if (is_fisher() && (accumulates() || ema > 0)) {
      return make_error(StatusCode::kInvalidArgument, "P548",
                        "optimizer=fisher measures and trains nothing: accumulate and ema have no use there");
    }
    if (kind == "sgd" || is_adam() || is_fisher()) return {};
    return make_error(StatusCode::kNotFound, "P540",
                      "there is no optimizer \"{}\"; optimizers are sgd, adam, adamw, and fisher to measure with",
                      kind);
  }

  Result<size_t> output_index() const {
    std::string names;
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const std::string& name = graph_.value(graph_.outputs()[i]).name;
      if (options_.output.empty() || name == options_.output) return i;
      names += (names.empty() ? "" : ", ") + name;
    }
    return make_error(StatusCode::kNotFound, "P541", "the model has no output \"{}\" to take a loss of; it has: {}",
                      options_.output, names);
  }

  // What the loss reads: logits, where it makes probabilities itself.
  ValueId prediction(size_t output) const {
    const ValueId value = graph_.outputs()[output];
    const ir::NodeId producer = graph_.value(value).producer;
    if (producer == kNone) return value;
    const ir::Node& node = graph_.node(producer);
    const std::string& loss = options_.loss.kind;
    const auto rank = static_cast<int64_t>(graph_.value(value).type.shape.size());
    const int64_t axis = node.int_attribute("axis", -1);
    const bool map = loss == "dice_cross_entropy";
    const auto classes = class_axis_of(options_.loss, graph_.value(value).type);
    const bool over_classes = map ? classes && (axis < 0 ? axis + rank : axis) == static_cast<int64_t>(*classes)
                                  : axis == -1 || axis == rank - 1;
    const bool softmax = (loss == "cross_entropy" || map) && node.op == "softmax" && over_classes;
    const bool single = map && classes && graph_.value(value).type.shape[*classes] == Dim(1);
    const bool sigmoid = (loss == "bce" || loss == "focal" || loss == "dice" || single) && node.op == "sigmoid";
    return softmax || sigmoid ? node.inputs[0] : value;
  }

  void add_numbers(size_t output) {
    const ir::TensorType type = target_type(graph_, options_.loss, graph_.outputs()[output]);
    target_ = graph_.add_input("target", type);
    learning_rate_ = graph_.add_input("learning_rate", {type.dtype, {}, std::nullopt});
    if (is_adam() || accumulates()) step_ = graph_.add_input("step", {DataType::kI64, {}, std::nullopt});
  }

  // Of the loss too: where that is not finite no gradient may be.
  Status add_norm(const std::vector<ValueId>& gradients) {
    std::vector<ValueId> parts;
    for (const ValueId gradient : gradients) {
      if (gradient != kNone) parts.push_back(gradient);
    }
    if (parts.empty()) {
      return make_error(StatusCode::kInvalidArgument, "P542",
                        "the loss of \"{}\" depends on none of the {} chosen parameter(s); choose others, or another "
                        "output",
                        options_.output.empty() ? "the first output" : options_.output, gradients.size());
    }
    ops::AppendOptions options;
    options.node_name = "gradient_norm";
    options.output_names = {"gradient_norm"};
    HAI_TRY(norm_, ops::append_value(graph_, "global_norm", std::move(parts), {}, std::move(options)));
    return {};
  }

  void add_state(ValueId before, ValueId after, std::shared_ptr<const ir::ConstantData> initial, bool is_parameter) {
    size_t input = 0;
    while (graph_.inputs()[input] != before) ++input;
    size_t output = ir::State::kKept;
    if (after != kNone) {
      output = graph_.outputs().size();
      graph_.add_output(after);
    }
    graph_.states.push_back({input, output, std::move(initial), is_parameter});
  }

  // strength fisher (parameter - anchor) is added to each gradient.
  Status add_penalties(const std::vector<ValueId>& wanted, std::vector<ValueId>& gradients) {
    const auto kept_state = [&](const std::string& name, const ir::TensorType& type) {
      kept_.push_back(graph_.add_input(name, type));
      return kept_.back();
    };
    const DataType dtype = graph_.value(loss_).type.dtype;
    const ValueId strength = kept_state("ewc_strength", {dtype, {}, std::nullopt});
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (gradients[i] == kNone) continue;
      const std::string name = graph_.value(wanted[i]).name;
      const ir::TensorType type = graph_.value(wanted[i]).type;
      ops::AppendOptions options;
      options.node_name = name + "/ewc";
      const auto append = [&](const char* op, ValueId a, ValueId b) {
        return ops::append_value(graph_, op, {a, b}, {}, options);
      };
      HAI_TRY(const ValueId distance, append("sub", wanted[i], kept_state(name + "/anchor", type)));
      HAI_TRY(const ValueId weighted, append("mul", kept_state(name + "/fisher", type), distance));
      HAI_TRY(const ValueId penalty, append("mul", weighted, strength));
      HAI_TRY(gradients[i], append("add", gradients[i], penalty));
    }
    return {};
  }

  // The mean over a group of steps, as it is so far: it is what the update at the group's end takes.
  Status accumulate(const std::vector<ValueId>& wanted, std::vector<ValueId>& gradients) {
    const int64_t every = options_.optimizer.accumulate;
    ops::AppendOptions phase;
    phase.node_name = "accumulation";
    phase.output_count = 3;
    HAI_TRY(const ir::NodeId node,
            ops::append(graph_, "accumulation_phase", {step_, learning_rate_}, {{"every", every}}, std::move(phase)));
    const std::vector<ValueId> outputs = graph_.node(node).outputs;
    gate_ = outputs[1];
    step_ = outputs[2];
    const ir::TensorType number{graph_.value(loss_).type.dtype, {}, std::nullopt};
    const ValueId share = ops::add_number(graph_, number, 1.0 / static_cast<double>(every));
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (gradients[i] == kNone) continue;
      const std::string name = graph_.value(wanted[i]).name + "/sum";
      const ValueId sum = graph_.add_input(name, graph_.value(wanted[i]).type);
      ops::AppendOptions options;
      options.node_name = name;
      HAI_TRY(const ValueId kept, ops::append_value(graph_, "mul", {sum, outputs[0]}, {}, options));
      HAI_TRY(const ValueId part, ops::append_value(graph_, "mul", {gradients[i], share}, {}, options));
      HAI_TRY(gradients[i], ops::append_value(graph_, "add", {kept, part}, {}, options));
      sums_.push_back({sum, gradients[i]});
    }
    return {};
  }

  // A state that becomes `next` where the guard allows it.
  Status add_guarded(ValueId old, ValueId next, ValueId guard, std::shared_ptr<const ir::ConstantData> initial,
                     bool is_parameter = false) {
    const std::string name = graph_.value(old).name;
    ops::AppendOptions options;
    options.node_name = name + "/update";
    options.output_names = {name + "/next"};
    HAI_TRY(const ValueId guarded,
            ops::append_value(graph_, "guarded_update", {old, next, guard}, {}, std::move(options)));
    add_state(old, guarded, std::move(initial), is_parameter);
    return {};
  }

  // average + (1 - ema) (new weight - average), beginning as the weight.
  Status add_average(const std::string& name, ValueId weight, const std::shared_ptr<const ir::ConstantData>& initial) {
    const ir::TensorType type = graph_.value(weight).type;
    const ValueId average = graph_.add_input(name + "/ema", type);
    ops::AppendOptions options;
    options.node_name = name + "/ema";
    const ValueId share = ops::add_number(graph_, {type.dtype, {}, std::nullopt}, 1 - options_.optimizer.ema);
    HAI_TRY(const ValueId distance, ops::append_value(graph_, "sub", {weight, average}, {}, options));
    HAI_TRY(const ValueId part, ops::append_value(graph_, "mul", {distance, share}, {}, options));
    HAI_TRY(const ValueId next, ops::append_value(graph_, "add", {average, part}, {}, options));
    return add_guarded(average, next, guard_, initial);
  }

  Status add_fisher(const Parameter& parameter, ValueId gradient) {
    const std::shared_ptr<const ir::ConstantData> initial = graph_.value(parameter.value).constant;
    const ValueId value = constant_to_input(graph_, parameter.value);
    add_state(value, kNone, initial, true);
    const std::string name = graph_.value(value).name + "/fisher";
    const ValueId sum = graph_.add_input(name, graph_.value(value).type);
    ops::AppendOptions options;
    options.node_name = name;
    HAI_TRY(const ValueId square, ops::append_value(graph_, "square", {gradient}, {}, options));
    HAI_TRY(const ValueId next, ops::append_value(graph_, "add", {sum, square}, {}, options));
    options.output_names = {name + "/next"};
    HAI_TRY(const ValueId guarded, ops::append_value(graph_, "guarded_update", {sum, next, norm_}, {}, options));
    add_state(sum, guarded, nullptr, false);
    return {};
  }

  // batch_norm becomes batch_norm_train, whose readers stay.
  Status train_batch_norm(ir::NodeId id) {
    const ir::Node node = graph_.node(id);
    const std::string name = graph_.value(node.outputs[0]).name;
    graph_.rename_value(node.outputs[0], name + "/frozen");
    ops::AppendOptions options;
    options.node_name = node.name;
    options.output_names = {name, name + "/mean", name + "/variance", name + "/next_mean", name + "/next_variance"};
    options.output_count = 5;
    ir::Attributes attributes = {{"epsilon", node.float_attribute("epsilon", 1e-5)},
                                 {"momentum", options_.statistics_momentum}};
    HAI_TRY(const ir::NodeId trained,
            ops::append(graph_, "batch_norm_train", node.inputs, std::move(attributes), std::move(options)));
    const std::vector<ValueId> outputs = graph_.node(trained).outputs;
    graph_.replace_uses(node.outputs[0], outputs[0]);
    graph_.erase_node(id);
    statistics_.push_back({node.inputs[3], outputs[3]});
    statistics_.push_back({node.inputs[4], outputs[4]});
    return {};
  }

  // Statistics of a refused step are not taken over.
  Status add_statistic(const Statistic& statistic) {
    const std::shared_ptr<const ir::ConstantData> initial = graph_.value(statistic.constant).constant;
    const ValueId old = constant_to_input(graph_, statistic.constant);
    return add_guarded(old, statistic.next, norm_, initial, true);
  }

  ir::Attributes attributes_of(const Parameter& parameter) const {
    const OptimizerOptions& o = options_.optimizer;
    ir::Attributes attributes;
    attributes["weight_decay"] = parameter.spared ? 0.0 : parameter.weight_decay.value_or(o.weight_decay);
    if (parameter.rate_factor != 1) attributes["learning_rate_scale"] = parameter.rate_factor;
    attributes["clip_norm"] = o.clip_norm;
    if (is_adam()) {
      attributes["beta1"] = o.beta1;
      attributes["beta2"] = o.beta2;
      attributes["epsilon"] = o.epsilon;
      attributes["decoupled"] = int64_t{o.kind == "adamw"};
    } else {
      attributes["momentum"] = o.momentum;
      attributes["nesterov"] = int64_t{o.nesterov};
    }
    return attributes;
  }

  Status add_update(const Parameter& parameter, ValueId gradient) {
    const std::shared_ptr<const ir::ConstantData> initial = graph_.value(parameter.value).constant;
    const ValueId value = constant_to_input(graph_, parameter.value);
    const std::string name = graph_.value(value).name;
    const ir::TensorType type = graph_.value(value).type;
    std::vector<ValueId> moments;
    std::vector<std::string> names = {name + "/next"};
    const auto add_moment = [&](const char* what) {
      names.push_back(name + "/" + what + "/next");
      moments.push_back(graph_.add_input(name + "/" + what, type));
    };
    std::vector<ValueId> inputs = {value, gradient};
    if (is_adam()) {
      add_moment("m");
      add_moment("v");
      inputs.insert(inputs.end(), {moments[0], moments[1], learning_rate_, step_, guard_});
    } else {
      if (options_.optimizer.momentum > 0) add_moment("momentum");
      inputs.insert(inputs.end(), {moments.empty() ? kNone : moments[0], learning_rate_, guard_});
    }
    ops::AppendOptions options;
    options.node_name = name + "/update";
    options.output_names = names;
    options.output_count = names.size();
    HAI_TRY(const ir::NodeId node, ops::append(graph_, is_adam() ? "adam_update" : "sgd_update", std::move(inputs),
                                               attributes_of(parameter), std::move(options)));
    const std::vector<ValueId> outputs = graph_.node(node).outputs;
    add_state(value, outputs[0], initial, true);
    for (size_t i = 0; i < moments.size(); ++i) add_state(moments[i], outputs[i + 1], nullptr, false);
    return options_.optimizer.ema > 0 ? add_average(name, outputs[0], initial) : Status{};
  }

  Graph& graph_;
  const TrainingOptions& options_;
  ValueId target_ = kNone;
  ValueId learning_rate_ = kNone;
  ValueId step_ = kNone;
  ValueId loss_ = kNone;
  ValueId norm_ = kNone;
  ValueId gate_ = kNone;   // where gradients are accumulated
  ValueId guard_ = kNone;  // of updates: the norm, or a number that refuses them
  std::vector<Statistic> statistics_;
  std::vector<Statistic> sums_;  // of gradients
  std::vector<ValueId> kept_;    // inputs that become states which no step changes
};

}  // namespace

Status split_bias(Graph& graph, ValueId bias) {
  const std::vector<ir::Use> uses = graph.value(bias).uses;
  for (const ir::Use& use : uses) {
    const ir::Node node = graph.node(use.node);
    const bool product = node.op == "conv2d" || node.op == "conv_transpose2d" || node.op == "matmul";
    if (!product || use.operand != 2) continue;
    graph.set_input(use.node, 2, kNone);
    const ValueId result = node.outputs[0];
    const std::string name = graph.value(result).name;
    graph.rename_value(result, name + "/product");
    ops::AppendOptions options;
    options.node_name = node.name;
    options.output_names = {name};
    HAI_TRY(const ir::NodeId sum, ops::append(graph, "add", {result, bias}, {}, std::move(options)));
    const ValueId with_bias = graph.node(sum).outputs[0];
    graph.replace_uses(result, with_bias);
    graph.set_input(sum, 0, result);
  }
  return {};
}

Status make_training_graph(Graph& graph, const TrainingOptions& options, std::span<const Parameter> parameters) {
  return TrainingGraph(graph, options).run(parameters);
}

std::vector<ValueId> changed_constants(const Graph& graph, const TrainingOptions& options,
                                       std::span<const Parameter> parameters) {
  std::vector<ValueId> out;
  for (const Parameter& parameter : parameters) out.push_back(parameter.value);
  for (const ir::NodeId id : trained_batch_norms(graph, options, parameters)) {
    const ir::Node& node = graph.node(id);
    out.insert(out.end(), {node.inputs[3], node.inputs[4]});
  }
  return out;
}

}  // namespace hai::passes

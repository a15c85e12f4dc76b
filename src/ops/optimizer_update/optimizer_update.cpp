// sgd_update and adam_update: one step of an optimizer for one parameter, its moments included, in one sweep.
//
// Formulas are those of PyTorch's torch.optim.SGD, Adam and AdamW (Sutskever et al. 2013 as reformulated there; Kingma
// & Ba 2015; Loshchilov & Hutter 2019), so that runs can be compared step by step. The learning rate is an operand,
// since schedules change it from step to step; what stays for a training is an attribute. `guard` lets a step be
// refused as a whole: where it is not finite nothing changes. Floats are computed in f64 and rounded once.
#include <fmt/format.h>

#include <cmath>

#include "ops/inference.h"
#include "ops/reference.h"
#include "types/optimizer_step.h"

namespace hai::ops {
namespace {

constexpr int64_t kSgd = 0;
constexpr int64_t kAdam = 1;

struct Operands {
  size_t moments;  // first of them
  size_t moment_count;
  size_t learning_rate;
  size_t step;  // Adam's; else none
  size_t guard;
};
Operands operands_of(const OpSchema& schema) {
  return schema.variant == kSgd ? Operands{2, 1, 3, SIZE_MAX, 4} : Operands{2, 2, 4, 5, 6};
}

Status check_attribute(const ir::Node& node, std::string_view name, double fallback, double below) {
  const double number = node.float_attribute(name, fallback);
  if (std::isfinite(number) && number >= 0 && number < below) return {};
  return make_error(StatusCode::kInvalidArgument, "O540", "{} is {}: it must be at least 0 and below {}", name, number,
                    below);
}

Status check_attributes(const OpSchema& schema, const ir::Node& node) {
  constexpr double kAny = 1e30;
  for (const std::string_view name : {"weight_decay", "clip_norm"})
    HAI_TRY_STATUS(check_attribute(node, name, 0, kAny));
  HAI_TRY_STATUS(check_attribute(node, "learning_rate_scale", 1, kAny));
  if (schema.variant == kSgd) return check_attribute(node, "momentum", 0, 1);
  HAI_TRY_STATUS(check_attribute(node, "beta1", 0.9, 1));
  HAI_TRY_STATUS(check_attribute(node, "beta2", 0.999, 1));
  return check_attribute(node, "epsilon", 1e-8, kAny);
}

InferResult infer(const OpSchema& schema, const InferContext& context) {
  const Operands at = operands_of(schema);
  HAI_TRY_STATUS(require_dtype(schema, context, 0, kFloatTypes));
  HAI_TRY_STATUS(check_attributes(schema, context.node));
  const ir::TensorType parameter{input_type(context, 0).dtype, input_type(context, 0).shape, std::nullopt};
  std::vector<ir::TensorType> outputs = {parameter};
  for (size_t i = 1; i < at.learning_rate; ++i) {
    if (!has_input(context, i)) continue;
    HAI_TRY_STATUS(require_same_dtype(schema, context, i, 0));
    if (input_type(context, i).shape != parameter.shape) {
      return make_error(StatusCode::kInvalidArgument, "O541", "{} is {} and the parameter {}: shapes must be equal",
                        schema.inputs[i].name, to_string(input_type(context, i).shape, context.symbols),
                        to_string(parameter.shape, context.symbols));
    }
    if (i >= at.moments) outputs.push_back(parameter);
  }
  if (context.node.float_attribute("momentum", 0) > 0 && outputs.size() < 2) {
    return make_error(StatusCode::kInvalidArgument, "O542", "momentum {} needs the tensor that keeps it",
                      context.node.float_attribute("momentum", 0));
  }
  for (const size_t i : {at.learning_rate, at.step, at.guard}) {
    if (i == SIZE_MAX || !has_input(context, i)) continue;
    HAI_TRY_STATUS(require_rank(schema, context, i, 0, 0));
    HAI_TRY_STATUS(i == at.step ? require_dtype(schema, context, i, set_of({DataType::kI64}))
                                : require_same_dtype(schema, context, i, 0));
  }
  return outputs;
}

// Where the guard refuses the step, outputs are the inputs.
bool refused(const ReferenceContext& context, const Operands& at, double& scale) {
  const bool guarded = context.inputs.size() > at.guard && context.inputs[at.guard].data != nullptr;
  const double guard = guarded ? load_f64(context.inputs[at.guard], 0) : 0;
  scale = hai_clip_scale(guard, context.node.float_attribute("clip_norm", 0));
  if (hai_step_is_sound(guard) != 0) return false;
  store_all_f64(context.outputs[0], load_all_f64(context.inputs[0]));
  for (size_t i = 1; i < context.outputs.size(); ++i)
    store_all_f64(context.outputs[i], load_all_f64(context.inputs[at.moments + i - 1]));
  return true;
}

Status sgd_reference(const OpSchema& schema, const ReferenceContext& context) {
  const Operands at = operands_of(schema);
  double scale = 1;
  if (refused(context, at, scale)) return {};
  const ir::Node& node = context.node;
  const hai_sgd_step step = {
      load_f64(context.inputs[at.learning_rate], 0) * node.float_attribute("learning_rate_scale", 1), scale,
      node.float_attribute("weight_decay", 0), node.float_attribute("momentum", 0),
      node.int_attribute("nesterov", 0) != 0 ? 1 : 0};
  const bool has_momentum = context.outputs.size() > 1;
  for (int64_t i = 0; i < context.inputs[0].count(); ++i) {
    double moment = has_momentum ? load_f64(context.inputs[at.moments], i) : 0.0;
    const double w = hai_sgd_element(&step, load_f64(context.inputs[0], i), load_f64(context.inputs[1], i), &moment);
    store_f64(context.outputs[0], i, w);
    if (has_momentum) store_f64(context.outputs[1], i, moment);
  }
  return {};
}

Status adam_reference(const OpSchema& schema, const ReferenceContext& context) {
  const Operands at = operands_of(schema);
  double scale = 1;
  if (refused(context, at, scale)) return {};
  const ir::Node& node = context.node;
  const double beta1 = node.float_attribute("beta1", 0.9);
  const double beta2 = node.float_attribute("beta2", 0.999);
  const auto number = static_cast<double>(load_integer(context.inputs[at.step], 0));
  hai_adam_step step = {};
  step.learning_rate = load_f64(context.inputs[at.learning_rate], 0) * node.float_attribute("learning_rate_scale", 1);
  step.scale = scale;
  step.weight_decay = node.float_attribute("weight_decay", 0);
  step.beta1 = beta1;
  step.beta2 = beta2;
  step.epsilon = node.float_attribute("epsilon", 1e-8);
  step.correction1 = 1 - std::pow(beta1, number);
  step.correction2 = 1 - std::pow(beta2, number);
  step.decoupled = node.int_attribute("decoupled", 0) != 0 ? 1 : 0;
  for (int64_t i = 0; i < context.inputs[0].count(); ++i) {
    double m = load_f64(context.inputs[at.moments], i);
    double v = load_f64(context.inputs[at.moments + 1], i);
    const double w = hai_adam_element(&step, load_f64(context.inputs[0], i), load_f64(context.inputs[1], i), &m, &v);
    store_f64(context.outputs[0], i, w);
    store_f64(context.outputs[1], i, m);
    store_f64(context.outputs[2], i, v);
  }
  return {};
}

Cost cost(const OpSchema& schema, const CostContext& context) {
  return {0, (schema.variant == kSgd ? 5 : 12) * context.outputs[0].count()};
}

Sample make_sample(const OpSchema& schema, const char* name, DataType dtype, const Shape& shape,
                   ir::Attributes attributes, bool guard, bool moments) {
  const Operands at = operands_of(schema);
  Sample sample;
  sample.name = name;
  sample.op = schema.name;
  SampleInput tensor;
  tensor.type = {dtype, shape, std::nullopt};
  SampleInput scalar = tensor;
  scalar.type.shape = {};
  for (size_t i = 0; i < schema.inputs.size(); ++i) {
    SampleInput input = i < at.learning_rate ? tensor : scalar;
    if (i == at.learning_rate) input.low = 0.01, input.high = 0.1;
    if (i == at.guard) input.low = 0.5, input.high = 3.0, input.absent = !guard;
    if (i == at.step) {
      input.type.dtype = DataType::kI64;
      input.integers_in_bounds = true;
      input.low = 1, input.high = 9;
    }
    if (i >= at.moments && i < at.learning_rate) input.absent = !moments;
    if (schema.variant == kAdam && i == 3) input.low = 0.05;  // a mean of squares, away from the kink of its root
    sample.inputs.push_back(std::move(input));
  }
  sample.attributes = std::move(attributes);
  // A few roundings of f32 at numbers that the step's operands do not exceed.
  sample.tolerance = dtype == DataType::kF64 ? 1e-14 : 2e-6;
  return sample;
}

std::vector<Sample> samples(const OpSchema& schema) {
  std::vector<Sample> out;
  const auto add = [&](const char* name, DataType dtype, const Shape& shape, ir::Attributes attributes, bool guard,
                       bool moments = true) {
    out.push_back(make_sample(schema, name, dtype, shape, std::move(attributes), guard, moments));
  };
  const bool sgd = schema.variant == kSgd;
  const std::string first = sgd ? "momentum" : "beta1";
  add("odd_f32", DataType::kF32, {13, 7, 19}, {{first, 0.9}}, false);
  add("decay_clip_f32", DataType::kF32, {127}, {{first, 0.5}, {"weight_decay", 0.05}, {"clip_norm", 1.0}}, true);
  add(sgd ? "nesterov_f32" : "decoupled_f32", DataType::kF32, {2, 127, 129},
      {{first, 0.8}, {sgd ? "nesterov" : "decoupled", int64_t{1}}, {"weight_decay", 0.1}, {"learning_rate_scale", 0.5}},
      true);
  add("f64", DataType::kF64, {11, 6}, {{first, 0.9}, {"weight_decay", 0.01}}, true);
  add("empty_f32", DataType::kF32, {0, 3}, {{first, 0.9}}, false);
  if (sgd) add("plain_f32", DataType::kF32, {31, 3}, {{"weight_decay", 0.01}}, true, false);
  return out;
}

OpSchema make_schema(int64_t variant) {
  const bool sgd = variant == kSgd;
  OpSchema schema;
  schema.variant = variant;
  schema.name = sgd ? "sgd_update" : "adam_update";
  schema.doc = sgd ? "One step of SGD for one parameter: g = c gradient + weight_decay parameter; "
                     "new_momentum = momentum old + g; parameter - learning_rate d, with d = new_momentum, or g + "
                     "momentum new_momentum (Nesterov), or g without momentum."
                   : "One step of Adam for one parameter: g = c gradient + weight_decay parameter (decoupled: instead "
                     "the parameter shrinks by learning_rate weight_decay); m' = beta1 m + (1 - beta1) g; v' = beta2 v "
                     "+ (1 - beta2) g g; parameter - learning_rate (m' / (1 - beta1^step)) / (sqrt(v' / (1 - "
                     "beta2^step)) + epsilon).";
  schema.doc +=
      " c = min(1, clip_norm / (guard + 1e-6)), or 1 where clip_norm is 0. Where guard is not finite or beyond 2^63 "
      "nothing changes. "
      "Floats only.";
  schema.inputs = {{"parameter", "any static shape"}, {"gradient", "shape of parameter"}};
  schema.outputs = {{"new_parameter", "shape of parameter"}};
  if (sgd) {
    schema.inputs.push_back({"momentum", "shape of parameter; required where momentum > 0", true});
    schema.outputs.push_back({"new_momentum", "shape of parameter; there where momentum is"});
  } else {
    schema.inputs.push_back({"m", "shape of parameter: the running mean of gradients"});
    schema.inputs.push_back({"v", "shape of parameter: the running mean of their squares"});
    schema.outputs.push_back({"new_m", "shape of parameter"});
    schema.outputs.push_back({"new_v", "shape of parameter"});
  }
  schema.inputs.push_back({"learning_rate", "[]: of this step"});
  if (!sgd) schema.inputs.push_back({"step", "[], i64: number of this step, from 1"});
  schema.inputs.push_back(
      {"guard", "[]: the norm of all gradients, or another number that is finite when all is well", true});
  schema.attributes = {{"weight_decay", AttributeKind::kFloat, "0 by default"},
                       {"clip_norm", AttributeKind::kFloat, "largest norm of all gradients; 0, the default: any"},
                       {"learning_rate_scale", AttributeKind::kFloat, "of this parameter's group; 1 by default"}};
  if (sgd) {
    schema.attributes.push_back({"momentum", AttributeKind::kFloat, "in [0, 1); 0 by default"});
    schema.attributes.push_back({"nesterov", AttributeKind::kInt, "1: Nesterov's momentum; 0 by default"});
  } else {
    schema.attributes.push_back({"beta1", AttributeKind::kFloat, "in [0, 1); 0.9 by default"});
    schema.attributes.push_back({"beta2", AttributeKind::kFloat, "in [0, 1); 0.999 by default"});
    schema.attributes.push_back({"epsilon", AttributeKind::kFloat, "1e-8 by default"});
    schema.attributes.push_back({"decoupled", AttributeKind::kInt, "1: AdamW's weight decay; 0 by default"});
  }
  schema.infer = infer;
  schema.reference = sgd ? sgd_reference : adam_reference;
  schema.cost = cost;
  schema.samples = samples;
  schema.explained_holes = {{"onnx", "made by compiling for training"},
                            {"sd3403", "training runs on the CPU"},
                            {"gradient", "nothing is trained through an optimizer's step"}};
  return schema;
}

}  // namespace

std::span<const OpSchema> optimizer_update_schemas();
std::span<const OpSchema> optimizer_update_schemas() {
  static const std::vector<OpSchema> schemas = {make_schema(kSgd), make_schema(kAdam)};
  return schemas;
}

}  // namespace hai::ops

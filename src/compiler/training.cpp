// A model that can be trained keeps its parameters as they are: batch norms are not folded into weights, and equal
// constants (biases of zeros) stay two. The training graph is made from the canonical graph, differentiated before
// anything is fused, then simplified, fused and lowered like any other. Parameters have one place in the weights
// section, which the portable graph, the program for inference and the training program all read: a trained model is
// the same file with other bytes there. What no step changes is a program of its own, whose results can be kept.
#include "compiler/training.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "compiler/pipeline.h"
#include "devices/cpu/lower/lower.h"
#include "format/sample_pieces.h"
#include "ops/build.h"
#include "ops/work.h"
#include "passes/parameter_groups.h"
#include "passes/recompute.h"
#include "passes/split_frozen.h"

namespace hai::compiler {
namespace {

struct Key {
  std::string_view name;
  // One of these is set.
  double* number = nullptr;
  std::string* text = nullptr;
  bool* flag = nullptr;
  int64_t* bytes = nullptr;
  int64_t* whole = nullptr;
};

// "200MB", "1.5GB", "4096": decimal units. std::nullopt for all else.
std::optional<int64_t> parse_bytes(double number, std::string_view unit) {
  const double factor = unit.empty() || unit == "B" ? 1
                        : unit == "KB"              ? 1e3
                        : unit == "MB"              ? 1e6
                        : unit == "GB"              ? 1e9
                                                    : 0;
  const double bytes = number * factor;
  if (!(bytes >= 1 && bytes < 1e18)) return std::nullopt;
  return static_cast<int64_t>(bytes);
}

std::vector<Key> keys_of(passes::TrainingOptions& options) {
  return {{"loss", nullptr, &options.loss.kind},
          {"label_smoothing", &options.loss.label_smoothing},
          {"class_axis", nullptr, nullptr, nullptr, nullptr, &options.loss.class_axis},
          {"delta", &options.loss.delta},
          {"gamma", &options.loss.gamma},
          {"alpha", &options.loss.alpha},
          {"box_gain", &options.loss.detector.box_gain},
          {"objectness_gain", &options.loss.detector.objectness_gain},
          {"class_gain", &options.loss.detector.class_gain},
          {"anchor_threshold", &options.loss.detector.anchor_threshold},
          {"max_boxes", &options.loss.detector.max_boxes},
          {"optimizer", nullptr, &options.optimizer.kind},
          {"momentum", &options.optimizer.momentum},
          {"nesterov", nullptr, nullptr, &options.optimizer.nesterov},
          {"beta1", &options.optimizer.beta1},
          {"beta2", &options.optimizer.beta2},
          {"epsilon", &options.optimizer.epsilon},
          {"weight_decay", &options.optimizer.weight_decay},
          {"clip_norm", &options.optimizer.clip_norm},
          {"accumulate", nullptr, nullptr, nullptr, nullptr, &options.optimizer.accumulate},
          {"ema", &options.optimizer.ema},
          {"groups", nullptr, &options.groups},
          {"sample_weights", nullptr, nullptr, &options.loss.sample_weights},
          {"class_mask", nullptr, nullptr, &options.loss.class_mask},
          {"distill", nullptr, &options.loss.distill},
          {"temperature", &options.loss.temperature},
          {"ewc", nullptr, nullptr, &options.ewc},
          {"batch_norm", nullptr, &options.batch_norm},
          {"statistics_momentum", &options.statistics_momentum},
          {"qat", nullptr, &options.qat},
          {"trainable", nullptr, &options.trainable},
          {"memory", nullptr, nullptr, nullptr, &options.memory_bytes},
          {"output", nullptr, &options.output}};
}

Status set_key(const Key& key, std::string_view value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool is_number = error == std::errc() && end == value.data() + value.size() && std::isfinite(number);
  if (key.text != nullptr && !value.empty()) {
    *key.text = value;
    return {};
  }
  if (key.number != nullptr && is_number) {
    *key.number = number;
    return {};
  }
  if (key.bytes != nullptr && error == std::errc()) {
    const auto bytes = parse_bytes(number, value.substr(static_cast<size_t>(end - value.data())));
    if (bytes) {
      *key.bytes = *bytes;
      return {};
    }
  }
  if (key.whole != nullptr && is_number && number == std::floor(number) && std::abs(number) < 1e15) {
    *key.whole = static_cast<int64_t>(number);
    return {};
  }
  if (key.flag != nullptr && is_number && (number == 0 || number == 1)) {
    *key.flag = number == 1;
    return {};
  }
  return make_error(StatusCode::kInvalidArgument, "K031", "training option {}=\"{}\": give {}", key.name, value,
                    key.text != nullptr    ? "a name"
                    : key.flag != nullptr  ? "0 or 1"
                    : key.bytes != nullptr ? "bytes, as in 200MB or 1.5GB"
                    : key.whole != nullptr ? "a whole number"
                                           : "a number");
}

// What has no effect with this loss and optimizer is a mistake of who asks for it.
Status check_use(const passes::TrainingOptions& options, const std::set<std::string_view>& given) {
  const std::string& loss = options.loss.kind;
  const std::string& optimizer = options.optimizer.kind;
  struct Use {
    const char* key;
    bool of_optimizer;
    std::vector<std::string_view> with;
  };
  const std::vector<Use> uses = {{"momentum", true, {"sgd", "fisher"}},
                                 {"nesterov", true, {"sgd", "fisher"}},
                                 {"beta1", true, {"adam", "adamw", "fisher"}},
                                 {"beta2", true, {"adam", "adamw", "fisher"}},
                                 {"epsilon", true, {"adam", "adamw", "fisher"}},
                                 {"label_smoothing", false, {"cross_entropy"}},
                                 {"class_axis", false, {"dice_cross_entropy"}},
                                 {"delta", false, {"huber"}},
                                 {"gamma", false, {"focal"}},
                                 {"alpha", false, {"focal"}},
                                 {"box_gain", false, {"yolov5"}},
                                 {"objectness_gain", false, {"yolov5"}},
                                 {"class_gain", false, {"yolov5"}},
                                 {"anchor_threshold", false, {"yolov5"}},
                                 {"max_boxes", false, {"yolov5", "yolox"}}};
  for (const Use& use : uses) {
    const std::string& kind = use.of_optimizer ? optimizer : loss;
    if (given.count(use.key) == 0 || std::find(use.with.begin(), use.with.end(), kind) != use.with.end()) continue;
    return make_error(StatusCode::kInvalidArgument, "K037", "training option {} has no effect with {}={}; it is for {}",
                      use.key, use.of_optimizer ? "optimizer" : "loss", kind, use.with[0]);
  }
  if (options.optimizer.nesterov && optimizer == "sgd" && options.optimizer.momentum == 0)
    return make_error(StatusCode::kInvalidArgument, "K038", "nesterov=1 needs a momentum; add momentum=0.9");
  return {};
}

}  // namespace

Result<passes::TrainingOptions> parse_training(std::string_view text) {
  passes::TrainingOptions options;
  const std::vector<Key> keys = keys_of(options);
  std::set<std::string_view> seen;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const size_t equals = std::min(part.find('='), part.size());
    const std::string_view name = part.substr(0, equals);
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const Key& one) { return one.name == name; });
    if (key == keys.end() || equals == part.size()) {
      std::string known;
      for (const Key& one : keys) known += (known.empty() ? "" : ", ") + std::string(one.name);
      return make_error(StatusCode::kInvalidArgument, "K030",
                        "\"{}\" is no training option; write KEY=VALUE, separated by commas, with a KEY of {}", part,
                        known);
    }
    if (!seen.insert(key->name).second)
      return make_error(StatusCode::kInvalidArgument, "K032", "training option {} is given twice", name);
    HAI_TRY_STATUS(set_key(*key, part.substr(equals + 1)));
  }
  HAI_TRY_STATUS(check_use(options, seen));
  return options;
}

void restore_names(ir::Graph& graph, std::span<const ir::ValueId> constants) {
  for (const ir::ValueId constant : constants) {
    while (true) {  // moved more than once: "conv.weight.1.1"
      const std::string name = graph.value(constant).name;
      const size_t dot = name.rfind('.');
      const bool numbered = dot != std::string::npos && dot > 0 && dot + 1 < name.size() &&
                            name.find_first_not_of("0123456789", dot + 1) == std::string::npos;
      if (!numbered || graph.find_value(name.substr(0, dot))) break;
      graph.rename_value(constant, name.substr(0, dot));
    }
  }
}

Result<std::vector<passes::Parameter>> choose_parameters(ir::Graph& graph, const passes::TrainingOptions& training) {
  HAI_TRY(std::vector<passes::Parameter> parameters, passes::trainable_parameters(graph, training.trainable));
  std::vector<ir::ValueId> constants;
  for (const passes::Parameter& parameter : parameters) constants.push_back(parameter.value);
  for (const ir::ValueId constant : constants) {
    const DataType type = graph.value(constant).type.dtype;
    if (type == DataType::kF32) continue;
    return make_error(StatusCode::kUnsupported, "K039",
                      "parameter \"{}\" is {}, and training on the CPU computes in f32; export the model in f32",
                      graph.value(constant).name, data_type_name(type));
  }
  restore_names(graph, constants);  // groups are told by names
  HAI_TRY_STATUS(passes::apply_groups(graph, training.groups, parameters));
  return parameters;
}

CompileOptions without_folding(const CompileOptions& options) {
  CompileOptions out = options;
  for (const char* pass : {"fold_batch_norm", "merge_duplicates"}) out.disabled_passes.emplace_back(pass);
  return out;
}

Status canonicalise_for_training(ir::Graph& graph, std::string_view trainable) {
  HAI_TRY_STATUS(run_steps(graph, canonical_steps(), without_folding({}), nullptr));
  graph.erase_dead();
  graph = graph.compact();
  HAI_TRY(const std::vector<passes::Parameter> parameters, passes::trainable_parameters(graph, trainable));
  std::vector<ir::ValueId> constants;
  for (const passes::Parameter& parameter : parameters) constants.push_back(parameter.value);
  restore_names(graph, constants);
  HAI_TRY(const std::vector<bool> trained, passes::trained_nodes(graph, parameters));
  HAI_TRY_STATUS(passes::fold_batch_norm_but(graph, trained));
  return {};
}

namespace {

// What a program takes at the largest batch, of which `piece` samples run at a time (0: all): states and arena.
int64_t memory_of(const format::Program& program, int64_t piece = 0) {
  const int64_t batch = program.symbols.empty() ? 1 : program.symbols[0].max;
  int64_t bytes = program.fixed_bytes + (piece == 0 ? batch : std::min(batch, piece)) * program.per_sample_bytes;
  for (const format::ProgramState& state : program.states) {
    const format::ProgramTensor& tensor = program.tensors[state.tensor];
    bytes += bytes_for(tensor.dtype, resolve(tensor.shape, {}).count());
  }
  return bytes;
}

int64_t bytes_a_sample(const format::Program& program, uint32_t tensor) {
  const int64_t one = 1;
  const format::ProgramTensor& of = program.tensors[tensor];
  return bytes_for(of.dtype, resolve(of.shape, std::span(&one, 1)).count());
}

Status fuse(ir::Graph& graph, const CompileOptions& options, CompileReport& report) {
  HAI_TRY_STATUS(run_steps(graph, fusing_steps(), options, &report.passes));
  graph.erase_dead();
  graph = graph.compact();
  return {};
}

// Why the NPU takes nothing of a graph: what keeps its largest layer away.
std::string reason_of(const ir::Graph& graph, std::span<const sd3403::Placement> placements) {
  const sd3403::Placement* largest = nullptr;
  int64_t most = 0;
  for (const sd3403::Placement& placed : placements) {
    const int64_t macs = ops::macs_of(graph, graph.node(placed.node));
    if (placed.reason.empty() || (largest != nullptr && macs <= most)) continue;
    largest = &placed;
    most = macs;
  }
  return largest == nullptr ? "it does nothing that an NPU can do" : largest->reason;
}

Error refuse_npu(std::string_view device, std::string_view why) {
  return make_error(
      StatusCode::kUnsupported, "K033",
      "--train with --device {}: nothing of the part that is not trained would run on the NPU: {}; "
      "quantize the model (--quantize int8 with --calibration) and train only its end (trainable=last:2), "
      "or compile for cpu, train, then compile the trained file for {}",
      device, why, device);
}

// The frozen part is for the device of the model; what is trained is the CPU's.
Result<format::Program> lower_frozen(const ir::Graph& frozen, const CompileOptions& options,
                                     const cpu::AddWeights& add_weights, TrainingReport& report) {
  if (options.device == "cpu") return cpu::lower(frozen, add_weights);
  HAI_TRY(sd3403::Lowered lowered, sd3403::lower(frozen, add_weights, options.sd3403));
  if (lowered.segments.empty()) return refuse_npu(options.device, reason_of(frozen, lowered.placements));
  for (const sd3403::Placement& placed : lowered.placements) {
    const int64_t macs = ops::macs_of(frozen, frozen.node(placed.node));
    report.frozen_macs += macs;
    if (placed.on_npu) report.frozen_npu_macs += macs;
  }
  return std::move(lowered.program);
}

// Lowers the step; where it passes the limit (of which the frozen part takes `frozen_bytes`), with activations that are
// made again.
Result<format::Program> lower_within(ir::Graph& step, ir::ValueId loss, int64_t limit_bytes, int64_t frozen_bytes,
                                     const cpu::AddWeights& add_weights, TrainingReport& report) {
  HAI_TRY(format::Program program, cpu::lower(step, add_weights));
  report.memory_bytes = memory_of(program) + frozen_bytes;
  if (limit_bytes == 0 || report.memory_bytes <= limit_bytes) return program;
  HAI_TRY(const passes::PassStats stats, passes::recompute_activations(step, loss));
  HAI_TRY(format::Program smaller, cpu::lower(step, add_weights));
  const int64_t bytes = memory_of(smaller) + frozen_bytes;
  if (bytes <= limit_bytes) {
    report.memory_bytes = bytes;
    report.recomputed = stats.changes;
    return smaller;
  }
  const int64_t batch = program.symbols.empty() ? 1 : program.symbols[0].max;
  return make_error(StatusCode::kResourceExhausted, "K034",
                    "a step of training at batch {} needs {} bytes, {} with activations made again; memory={} is too "
                    "little: give the least that works, a smaller batch (--dim), or fewer trainable layers",
                    batch, report.memory_bytes, bytes, limit_bytes);
}

}  // namespace

Result<ir::Graph> training_step(ir::Graph graph, const CompileOptions& options) {
  const passes::TrainingOptions& training = *options.training;
  HAI_TRY_STATUS(ops::verify(graph));
  HAI_TRY_STATUS(run_steps(graph, canonical_steps(), without_folding(options), nullptr));
  graph.erase_dead();
  graph = graph.compact();
  HAI_TRY(const std::vector<passes::Parameter> parameters, passes::trainable_parameters(graph, training.trainable));
  restore_names(graph, passes::changed_constants(graph, training, parameters));
  HAI_TRY_STATUS(passes::make_training_graph(graph, training, parameters));
  graph.erase_dead();
  HAI_TRY_STATUS(ops::verify(graph));
  return graph;
}

Result<TrainingPrograms> compile_training(const ir::Graph& graph, const passes::TrainingOptions& training,
                                          std::span<const passes::Parameter> parameters, const CompileOptions& options,
                                          WeightTable& weights, CompileReport& report) {
  ir::Graph step = graph;
  HAI_TRY_STATUS(passes::make_training_graph(step, training, parameters));
  step.erase_dead();
  if (auto status = ops::verify(step); !status) return with_where(status.error(), "building the step of training");
  // Frozen batch norms of frozen layers are constants again, and fold.
  HAI_TRY_STATUS(passes::fold_batch_norm(step));
  const cpu::AddWeights add_weights = [&](std::span<const std::byte> bytes, std::shared_ptr<const void> owner) {
    return weights.add(bytes, std::move(owner));
  };
  TrainingPrograms programs;
  HAI_TRY(std::optional<passes::SplitStep> split, passes::split_frozen(step, graph.inputs().size()));
  int64_t frozen_bytes = 0;
  if (!split && options.device != "cpu") return refuse_npu(options.device, "every layer with weights is trained");
  if (split) {
    HAI_TRY_STATUS(fuse(split->frozen, options, report));
    HAI_TRY(programs.features, lower_frozen(split->frozen, options, add_weights, report.training));
    step = std::move(split->rest);
    // Its features lie beside its arena, for the whole batch.
    frozen_bytes = memory_of(*programs.features, format::samples_a_piece(*programs.features));
    report.training.frozen_bytes = frozen_bytes;
    for (const uint32_t feature : programs.features->outputs)
      report.training.feature_bytes += bytes_a_sample(*programs.features, feature);
    const std::vector<Symbol>& symbols = step.symbols;
    frozen_bytes += report.training.feature_bytes * (symbols.empty() ? 1 : symbols[0].max);
  }
  HAI_TRY_STATUS(fuse(step, options, report));
  HAI_TRY(programs.step, lower_within(step, step.outputs()[graph.outputs().size()], training.memory_bytes, frozen_bytes,
                                      add_weights, report.training));
  report.training.parameters = static_cast<int64_t>(parameters.size());
  for (const format::ProgramState& state : programs.step.states) {
    const format::ProgramTensor& tensor = programs.step.tensors[state.tensor];
    const int64_t bytes = bytes_for(tensor.dtype, resolve(tensor.shape, {}).count());
    report.training.state_bytes += bytes;
    if (state.is_parameter) report.training.parameter_bytes += bytes;
  }
  report.training.instructions = static_cast<int64_t>(programs.step.instructions.size());
  report.training.fixed_bytes = programs.step.fixed_bytes;
  report.training.per_sample_bytes = programs.step.per_sample_bytes;
  report.training.lower_bound_bytes = programs.step.arena_lower_bound_bytes;
  return programs;
}

}  // namespace hai::compiler

// Compiling a step of training beside the model: what --train says, and the program that the runtime's trainer runs.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "compiler/compile.h"
#include "compiler/portable_graph.h"
#include "passes/training_graph.h"

namespace hai::compiler {

// "loss=cross_entropy,optimizer=sgd,momentum=0.9,trainable=last:2", as on the command line. Keys: loss,
// label_smoothing, class_axis, delta, gamma, alpha; box_gain, objectness_gain, class_gain, anchor_threshold, max_boxes;
// sample_weights, class_mask (0 or 1), distill, temperature; optimizer, momentum, nesterov (0 or 1), beta1, beta2,
// epsilon, weight_decay, clip_norm, accumulate, ema, groups; ewc (0 or 1); batch_norm, statistics_momentum; qat;
// trainable; memory; output. Errors: K030 no such key, with those there are; K031 a value that is none; K032 a key
// twice; K037 one without effect here; K038 nesterov without momentum.
Result<passes::TrainingOptions> parse_training(std::string_view text);

// A constant that a pass made of another one, by moving its axes, takes that one's name where nothing else has it:
// users find their parameters under the names that they gave them.
void restore_names(ir::Graph& graph, std::span<const ir::ValueId> constants);

// The parameters that a training changes, with what their groups say. Names of parameters are restored before.
Result<std::vector<passes::Parameter>> choose_parameters(ir::Graph& graph, const passes::TrainingOptions& training);

// Passes that would tie parameters together or to their neighbours: a model that can be trained is compiled without.
CompileOptions without_folding(const CompileOptions& options);

// The step of training of a model (options.training) as a graph, differentiated and not yet fused or lowered: what the
// references run to judge gradients by. Its interface is that of passes::make_training_graph.
Result<ir::Graph> training_step(ir::Graph graph, const CompileOptions& options);

struct TrainingPrograms {
  std::optional<format::Program> features;  // the frozen part, where there is one (passes/split_frozen.h)
  format::Program step;                     // reads the features, else the inputs of the model
};

// The training programs of a canonical graph, which keeps its own: `parameters` of it are changed. Constants are put
// into `weights`, where the parameters already lie. The step is for the CPU, the frozen part for options.device.
// Errors: K034 the step needs more than training.memory_bytes; K033 a device of which the frozen part uses nothing.
Result<TrainingPrograms> compile_training(const ir::Graph& graph, const passes::TrainingOptions& training,
                                          std::span<const passes::Parameter> parameters, const CompileOptions& options,
                                          WeightTable& weights, CompileReport& report);

}  // namespace hai::compiler

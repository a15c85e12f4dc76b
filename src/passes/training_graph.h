// From a model to one step of its training: forward, loss, backward and update in one graph.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "passes/trainable_parameters.h"
#include "passes/training_loss.h"

namespace hai::passes {

struct OptimizerOptions {
  // sgd, adam, adamw; or fisher, which trains nothing and adds the squares of each step's gradients to the states
  // "<parameter>/fisher": with single samples and labels drawn from the model's own answers, the diagonal of the
  // Fisher information times their number (Kirkpatrick et al. 2017).
  std::string kind = "adamw";
  double momentum = 0;  // of sgd
  bool nesterov = false;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  // biases and normalizations are spared
  double clip_norm = 0;     // of all gradients together; 0: no limit
  // Gradients of so many steps are averaged before one update, as if their batches were one (batch norms aside).
  int64_t accumulate = 1;
  // Above 0: averages of the weights are kept, average = ema average + (1 - ema) weight after each update.
  double ema = 0;
};

struct TrainingOptions {
  LossOptions loss;
  OptimizerOptions optimizer;
  // Of batch norms whose scale or bias is trained. train: by the statistics of the batch, and the running ones follow
  // (batch_norm_train); frozen: by the running ones, which stay.
  std::string batch_norm = "train";
  double statistics_momentum = 0.1;  // share of the batch in the new running statistics
  // Elastic weight consolidation: adds ewc_strength fisher (parameter - anchor) to each gradient, with the states
  // "<parameter>/fisher", "<parameter>/anchor" and "ewc_strength" that no step changes and callers set (zeros at
  // first). The loss that a step returns is that of the data alone.
  bool ewc = false;
  std::string qat = "none";       // w8a8, w4a8: fake_quantize_layers.h
  std::string trainable = "all";  // trainable_parameters.h
  std::string groups;             // choices by name, parameter_groups.h
  // Of a step at the largest batch, states included; 0: no limit. Activations are made again where that is needed.
  int64_t memory_bytes = 0;
  std::string output;  // of the model, that the loss is taken of; empty: its first
};

// Makes the model in `graph` a training step. Afterwards:
//   inputs   those of the model; "target" (training_loss.h: target_type()); "learning_rate" (a number); for Adam and
//   where gradients are
//            accumulated "step" (an i64, from 1); then the states
//   outputs  those of the model; "loss"; "gradient_norm", of all gradients together; then the states
//   states   the parameters, under the names and with the bytes of the constants that they were; the optimizer's
//            moments, "<parameter>/momentum" or "/m" and "/v", zeros at first; running statistics of batch norms in
//            train mode; "<parameter>/sum" of gradients where they are accumulated; "<parameter>/ema", averages of the
//            weights, which begin as these
// A step whose loss or gradients are not finite changes no state (optimizer_update). The prediction is the operand of
// the softmax or sigmoid that makes the output where the loss has its own. `parameters`: of trainable_parameters().
//
// Errors: P540 no such optimizer, P541 no such output; those of append_loss and differentiate.
// P543 no such mode of batch norms, P547 an option of the optimizer out of range.
Status make_training_graph(ir::Graph& graph, const TrainingOptions& options, std::span<const Parameter> parameters);

// Products add their bias before anything else, so one that varies can be an operator of its own: where `bias` is that
// of a product, the product loses it and an addition follows, whose result has the product's name.
Status split_bias(ir::Graph& graph, ir::ValueId bias);

// The constants of the model that the step changes: parameters, and running statistics of batch norms in train mode.
std::vector<ir::ValueId> changed_constants(const ir::Graph& graph, const TrainingOptions& options,
                                           std::span<const Parameter> parameters);

}  // namespace hai::passes

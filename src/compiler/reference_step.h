// A step of training through the references of the operators, in f64 or f32: what programs are judged by.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "format/model.h"
#include "ops/interpreter.h"
#include "passes/training_graph.h"

namespace hai::compiler {

struct ReferenceState {
  std::string name;
  ops::Tensor before;
  ops::Tensor after;
};
struct ReferenceStep {
  double loss = 0;
  double gradient_norm = 0;
  std::vector<ReferenceState> states;
};

// The first step of a training of the model's portable graph, all of whose floats are made `dtype` (f32 or f64).
// `inputs`: of the model, then the target, as f64 values in order of rows, of `batch` samples. With optimizer=sgd and
// any momentum, the state "<parameter>/momentum" afterwards is the gradient.
//
// Errors: K035 the graph has other floats than f32, or inputs do not fit; those of make_training_graph.
Result<ReferenceStep> reference_step(const format::ModelFile& model, const passes::TrainingOptions& options,
                                     DataType dtype, int64_t batch, std::span<const std::vector<double>> inputs,
                                     double learning_rate);

}  // namespace hai::compiler

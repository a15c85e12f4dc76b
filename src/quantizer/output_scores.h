// OutputScores: how far a quantized model's outputs are from the float model's, as numbers that say what users feel.
//
// Outputs that hold classes (rank 2, or one long axis besides the batch) are compared as distributions:
// Kullback-Leibler divergence KL(float || quantized) in nats, agreement of the first class, margins. All other outputs
// by their errors.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "hai/hai.hpp"
#include "ir/graph.h"
#include "quantizer/tensor_errors.h"

namespace hai::quantizer {

// One picture's answer: what the float model said and how the quantized one differed.
struct ClassAnswer {
  int64_t sample = 0;  // which calibration sample it shows; several views of one sample share the number
  double kl = 0;
  bool agrees = true;
  double regret = 0;                 // float probability of its own first class minus that of the quantized model's
  std::vector<double> margins;       // first logit minus each of the next ones (the nearest kRivals), float model
  std::vector<double> regrets;       // first probability minus that of each of these rivals
  std::vector<double> disturbances;  // change of each of these margins: quantized minus float
};

struct OutputScore {
  std::string name;
  bool classes = false;
  TensorErrors errors;
  std::vector<double> sample_errors;  // relative error of each sample
  std::vector<ClassAnswer> answers;   // one a row where `classes`

  double mean_kl() const;
  double agreement() const;  // 0..1
};

class OutputScores {
 public:
  static constexpr size_t kRivals = 10;

  // For these f32 values of the float graph.
  OutputScores(const ir::Graph& graph, std::span<const ir::ValueId> outputs);
  // One tensor a value, f32, in that order. Error Q061 when an element is not finite, naming output and sample.
  Status add(std::span<const api::Tensor> reference, std::span<const api::Tensor> actual, int64_t sample);

  const std::vector<OutputScore>& outputs() const { return outputs_; }
  std::vector<OutputScore> take() { return std::move(outputs_); }

 private:
  std::vector<OutputScore> outputs_;
};

// True when every dimension but the first and one other is 1, and that one is at least 2.
bool holds_classes(const Shape& shape);

}  // namespace hai::quantizer

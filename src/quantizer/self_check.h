// Self-check: the quantized graph against the float one on samples that calibration has not seen.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/sample_store.h"

namespace hai::quantizer {

struct OutputCheck {
  std::string output;
  double sqnr_db = 0;  // float signal over the difference
  double cosine = 1;
  double correlation = 1;   // of all elements
  int64_t fields = 0;       // channels of the output that carry something in the float model
  int64_t lost_fields = 0;  // those that the quantized model no longer follows
  double agreement = -1;    // of the largest element of each row; -1 where the output is no list of scores
  bool collapsed = false;
};

struct SelfCheck {
  int64_t sample_count = 0;
  std::vector<OutputCheck> outputs;
  std::string not_run;  // why, where it was not
  bool collapsed() const;
};

// Which samples are held back: some of 16 or more, spread evenly, at most 8; none of fewer.
std::vector<size_t> held_back_samples(size_t sample_count);

// Compares the outputs of `quantized` on the samples with what the float model gave.
Result<SelfCheck> check_outputs(const ir::Graph& quantized, const NextSample& samples,
                                const std::vector<std::vector<ops::Tensor>>& expected, int threads);

// The comparison of one output over several samples; f32 tensors of equal shapes.
OutputCheck compare_outputs(const std::vector<TensorView>& expected, const std::vector<TensorView>& actual);

}  // namespace hai::quantizer

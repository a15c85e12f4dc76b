// The INT8 model of the whole, trained part included, as a device can make it again (docs/design/0021).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "compiler/whole_model.h"
#include "ir/graph.h"
#include "quantizer/options.h"
#include "quantizer/sample_store.h"
#include "quantizer/weights.h"

namespace hai::quantizer {

struct WholeInput {
  const ir::Graph& graph;  // canonical, its trained part unfolded
  const SampleStore& store;
  const std::vector<size_t>& samples;
  const QuantizeOptions& options;  // with trainable
  const GivenWeights& given;       // of frozen layers, by node of `graph`
};

struct WholeResult {
  std::shared_ptr<const compiler::WholeModel> model;  // null: not possible
  std::string reason;                                 // then, why
};

// Ranges of what is trained go from the least to the largest value seen; its layers are rounded to nearest, and their
// biases not corrected.
Result<WholeResult> make_whole(const WholeInput& input);

}  // namespace hai::quantizer

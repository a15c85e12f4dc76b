// Reconstruction: rounds the weights of a quantized graph layer by layer, so that each layer's outputs stay close to
// the float layer's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/options.h"
#include "quantizer/plan.h"
#include "quantizer/quantizer.h"
#include "quantizer/rewrite.h"
#include "quantizer/staged_run.h"
#include "quantizer/weights.h"

namespace hai::quantizer {

struct LayerRounding {
  ir::NodeId node = ir::kNone;  // of the float graph
  std::string name;
  int bits = 8;
  // Mean square error of the outputs over their variance: rounded to nearest, after the closed-form steps, at the end.
  double error_nearest = 0;
  double error_solved = 0;
  double error = 0;
  int64_t rows = 0;  // output positions that were looked at
};

struct Reconstruction {
  GivenWeights weights;
  std::vector<LayerRounding> layers;  // in the order of work
};

// The quantized graph for these weights; must be the same but for weights and biases at each call.
using RewriteWith = std::function<Result<Rewritten>(const GivenWeights&)>;

// What a layer's rows have gone through: the layers before it as they were rounded, for which it makes up a little; or
// float ones, so that each layer's rounding stands for itself.
enum class RoundedBehind : uint8_t { kRoundedLayers, kFloatLayers };

// `graph`: the canonical float graph that `rewrite` starts from. `known`: weights that stay as they are. Layers of
// 16-bit or float weights, and products with several matrices, keep their rounding to nearest.
Result<Reconstruction> reconstruct(const ir::Graph& graph, const Plan& plan, const RewriteWith& rewrite,
                                   const GivenWeights& known, const EachSample& samples, const QuantizeOptions& options,
                                   RoundedBehind behind = RoundedBehind::kRoundedLayers,
                                   const OnRoundingProgress& progress = {});

}  // namespace hai::quantizer

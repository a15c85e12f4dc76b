// Post-training quantization to INT8: calibration on samples, then a graph whose integer types and rounding points are
// final.
//
// quantize() brings the graph into its canonical form (BatchNorm folded, activations recognised, NHWC), runs it in f32
// on the CPU device over the samples, watches the range of every tensor that becomes an integer, and rewrites the
// graph: i8 activations (one scale and zero point a tensor), i8 weights (symmetric, one scale per output channel), i32
// biases, table functions for the other activations, integer additions, concatenations, poolings and resizes. What has
// no integer form, and box-decoding tails after the last convolutions, stay f32 between dequantize and quantize.
// Rounding points are fixed here, before any fusion, so no later pass can change an integer result.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "compiler/whole_model.h"
#include "ir/graph.h"
#include "ops/interpreter.h"
#include "quantizer/options.h"
#include "quantizer/weights.h"

namespace hai::quantizer {

// The next sample: one tensor per graph input, of the input's own type, batch 1 or more; std::nullopt at the end.
using NextSample = std::function<Result<std::optional<std::vector<ops::Tensor>>>()>;

// Before each layer of AdaRound.
struct RoundingProgress {
  std::string layer;
  int64_t index = 0;
  int64_t count = 0;
  double seconds_left = 0;  // from the layers done; 0 before the first
};
// An error ends the quantization and is returned.
using OnRoundingProgress = std::function<Status(const RoundingProgress&)>;

// Layers rounded by earlier quantizations of the same model with the same samples, for searches that try many
// precisions: a layer found here is not rounded again. An approximation, since a layer also makes up for what the
// layers before it lose; so quantize the final choice without it. Keys are made by quantize().
struct RoundingCache {
  std::map<std::string, QuantizedWeights> layers;
};

struct QuantizeHooks {
  OnRoundingProgress rounding_progress;
  RoundingCache* rounding_cache = nullptr;
  // Each layer is rounded as if all others stayed float, for searches that take layers of the result apart.
  bool round_alone = false;
};

struct Quantized {
  ir::Graph graph;
  std::string report_json;  // per tensor: scale, zero point, range seen; per layer: SQNR of its weights; warnings; the
                            // self-check
  std::vector<std::string> warnings;
  int64_t sample_count = 0;
  // With options.trainable and options.rebuild, where that is possible: for CompileOptions::whole.
  std::shared_ptr<const compiler::WholeModel> whole;
};

// True when the graph holds integer tensors with scales: it is quantized already, and is compiled as it is.
bool is_quantized(const ir::Graph& graph);

// Errors: no samples, samples that do not fit the inputs, non-finite activations (names the tensor), a graph that is
// quantized already, a kept-float name that no node has or a layer's that no layer has (before the first sample is
// read), options.max_drop (search_mixed() is for that).
Result<Quantized> quantize(ir::Graph graph, const NextSample& next, const QuantizeOptions& options = {},
                           const QuantizeHooks& hooks = {});

}  // namespace hai::quantizer

// Layer errors: where a quantized graph loses accuracy against its float graph.
//
// For each layer two errors over samples: *accumulated*, its result in the running quantized model against the float
// model's, and *isolated*, the same when the layer reads the float model's tensors (rounded to its input types): what
// this layer alone does. For the worst layers also what 16 bits there would bring: divergence and SQNR of the model's
// outputs when that layer's weights and the tensors that it reads are not rounded, all else as it is.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/graph_pairing.h"
#include "quantizer/output_scores.h"
#include "quantizer/quantizer.h"
#include "quantizer/tensor_errors.h"

namespace hai::quantizer {

struct LayerErrorOptions {
  int threads = 0;          // 0: one a CPU
  int examined_layers = 8;  // how many of the worst layers to try at 16 bits
  int examined_samples = 16;
  int64_t kept_bytes = int64_t{256} << 20;  // of samples kept in memory for that
};

// The outputs when one layer is not rounded. KL is 0 for outputs without classes.
struct WiderEffect {
  double kl_before = 0;
  double kl_after = 0;
  double sqnr_before_db = 0;
  double sqnr_after_db = 0;
};

struct LayerError {
  std::string name;
  std::string op;
  int weight_bits = 0;      // 0: no weights; 32: float
  int activation_bits = 0;  // of what it reads; 32: float
  int64_t weight_count = 0;
  int64_t macs = 0;
  double weight_sqnr_db = 0;  // infinite for float weights
  bool equalized = false;     // its channels have other sizes than in the float model, on purpose
  TensorErrors accumulated;
  std::optional<TensorErrors> isolated;
  PairHistogram::Bins histogram;  // of its result, float and quantized
  std::optional<WiderEffect> wider;
};

struct LayerErrors {
  std::vector<LayerError> layers;  // in the order in which they run
  std::vector<UnpairedLayer> unpaired;
  std::vector<OutputScore> outputs;
  int64_t samples = 0;
};

// `reference` and `quantized`: any two forms of one model, as imported, quantized or read from a file; samples are for
// the float model's inputs. Errors: those of pair_graphs; Q067 no samples; Q068 a sample that does not fit; Q069 a
// tensor that is not finite; Q075 only the first is quantized (before the first sample is read).
Result<LayerErrors> measure_layers(ir::Graph reference, ir::Graph quantized, const NextSample& next,
                                   const LayerErrorOptions& options = {});

}  // namespace hai::quantizer

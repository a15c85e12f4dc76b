// Report: what a quantization chose and found, as JSON.
#pragma once

#include <string>
#include <vector>

#include "quantizer/guards.h"
#include "quantizer/prune.h"
#include "quantizer/range_outliers.h"
#include "quantizer/reconstruction.h"
#include "quantizer/rewrite.h"
#include "quantizer/self_check.h"
#include "quantizer/winograd_layers.h"

namespace hai::quantizer {

struct ReportInput {
  const ir::Graph& graph;
  const Plan& plan;
  const Ranges& ranges;
  const Observations& observations;
  const Rewritten& rewritten;
  const std::vector<Warning>& warnings;
  const SelfCheck& check;
  const QuantizeOptions& options;
  int64_t sample_count;
  int64_t equalized;
  const std::vector<InputNoise>& widened;  // layers that 8-bit activations were too coarse for
  const std::vector<InputNoise>& noises;   // of all layers, in 8 bits
  const std::vector<LayerRounding>& rounding;
  const PruneReport& pruned;
  const std::vector<WinogradRow>& winograd;
};
// Keys: method, precision, observer, samples, equalized_pairs, widened [node], weights {float_bytes, integer_bytes}
// (all constants, before and after), pruning (when asked for: sparsity, weights, zeros, weight_sqnr_db, outputs
// [{output, sqnr_db, cosine}], layers [{node, weights, zeros, weight_sqnr_db}]), warnings [{id, layer, message,
// remedy}], self_check, winograd (where asked for: choice, loss_db, layers [{node, tile, reason, direct, f2, f4}],
// of which the last three have modelled_cycles and sqnr_db, or impossible), integer_nodes, float_nodes,
// float [{node, op}], layers [{node, op, precision, ...}], tensors [{tensor, bits, min, max, scale, zero_point,
// clipped_share}].
std::string make_report(const ReportInput& input);

}  // namespace hai::quantizer

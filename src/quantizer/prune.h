// Pruning: the weights that matter least become zero, before anything is calibrated, so that every later step (bias
// correction, rounding, the self-check) sees the network as it will be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/quantizer.h"

namespace hai::quantizer {

struct PrunedLayer {
  std::string node;
  std::string op;
  int64_t weight_count = 0;
  int64_t zero_count = 0;  // those that were zero before included
  double sqnr_db = 0;      // of the weights: signal over what was removed; 0 when nothing was
};

// How an output of the float network changed on samples.
struct PrunedOutput {
  std::string output;
  double sqnr_db = 0;
  double cosine = 1;
};

struct PruneReport {
  double wanted = 0;
  int64_t weight_count = 0;  // of all layers
  int64_t zero_count = 0;
  double sqnr_db = 0;  // of all weights together
  std::vector<PrunedLayer> layers;
  std::vector<PrunedOutput> outputs;  // filled by measure_pruning
  int64_t sample_count = 0;
};

enum class PruneScope : uint8_t {
  kGlobal = 0,  // the given share of all weights: layers that bear it give more
  kLayer = 1,   // the given share of each layer
};

// Zeros the given share, in [0, 1), of the weights of the convolutions and matrix products of a float graph in
// canonical form. No output channel loses its last weight. Ties go by position, so that the same graph gives the same
// zeros. Errors: a share out of range, a graph without f32 weights.
Result<PruneReport> prune(ir::Graph& graph, double sparsity, PruneScope scope = PruneScope::kGlobal);

// Runs both graphs over the samples, at most `limit` of them, and fills report.outputs.
Status measure_pruning(const ir::Graph& before, const ir::Graph& after, const NextSample& next, int64_t limit,
                       int threads, PruneReport& report);

}  // namespace hai::quantizer

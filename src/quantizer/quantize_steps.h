// Steps of quantize() that are taken twice where a part is trained: for the model whose trained part stays f32, and for
// the whole in integers (whole_model.h).
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/calibrate.h"
#include "quantizer/guards.h"
#include "quantizer/large_results.h"
#include "quantizer/plan.h"
#include "quantizer/range_outliers.h"
#include "quantizer/ranges.h"

namespace hai::quantizer {

// Of the last axis; 0 where that is free.
int64_t channels_of(const ir::Graph& graph, ir::ValueId value);

// One observer for each tensor whose range decides; with the means of its channels for each input of a matrix product
// (they correct the bias) and each watched batch norm.
Observations make_observers(const ir::Graph& graph, const Plan& plan, bool means, bool magnitudes,
                            const std::vector<std::pair<ir::ValueId, size_t>>& norms);

// Gives 16-bit activations to the layers that 8 bits are too coarse for: another plan, other ranges, the same
// observations.
Result<std::vector<InputNoise>> widen_outliers(const ir::Graph& graph, const Observations& observations,
                                               const std::vector<InputNoise>& noises, const QuantizeOptions& options,
                                               std::map<ir::NodeId, Precision>& chosen, Plan& plan, Ranges& ranges,
                                               std::vector<Warning>& warnings);

// Gives more bits to the layers whose results are too large for theirs. Every round gives some layer more, up to f32;
// a layer in f32 may make the one before it the last, so it goes on until there is none.
Result<std::vector<LargeResult>> shrink_multipliers(const ir::Graph& graph, const Observations& observations,
                                                    const QuantizeOptions& options,
                                                    std::map<ir::NodeId, Precision>& chosen, Plan& plan,
                                                    Ranges& ranges);

}  // namespace hai::quantizer

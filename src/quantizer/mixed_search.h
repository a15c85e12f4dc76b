// Mixed precision by goal: the bits of every layer, so that the modelled cost is least while the measured drop stays
// under a goal.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/quantizer.h"

namespace hai::quantizer {

struct MixedOptions {
  double max_drop = 1.0;  // points; see drop_forecast.h for what a point is
  // Once the bits are chosen, quantize again with all samples: what was measured is then a cautious statement.
  bool refit = true;
  std::function<void(std::string_view)> progress;  // one line a step; may be empty
};

struct MixedResult {
  Quantized quantized;
  std::map<std::string, Precision> layers;  // by node name
  std::string json;                         // mapping, front, choice; its "text" is for people
};

// `options.precision` is not used; `options.layers` and `keep_float` stay as they are given. Errors: those of
// quantize(); Q080 fewer than 8 samples; Q081 max_drop out of (0, 100]; Q082 no layer to choose for.
Result<MixedResult> search_mixed(ir::Graph graph, const NextSample& next, const QuantizeOptions& options,
                                 const MixedOptions& mixed);

}  // namespace hai::quantizer

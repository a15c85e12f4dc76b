// Mixed precision by goal: the precision of every layer, so that the modelled cost is least while the expected drop
// stays under a goal.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/quantizer.h"

namespace hai::quantizer {

// Hears a line at each step of a search.
using OnMixedProgress = std::function<void(std::string_view)>;

struct MixedResult {
  Quantized quantized;
  std::map<std::string, Precision> layers;  // by node name
  std::string json;                         // choice, mapping, front; its "text" is for people
};

// The goal is `options.max_drop` (what a point is: drop_forecast.h), of which the upper end of an 80 % interval must
// stay below. `options.precision` is not used; `options.layers` and `keep_float` stay as they are given, and
// `options.adaround` rounds every candidate as it rounds the result. A goal that no mixture reaches is a warning, and
// the result then the best there is. Errors: those of quantize(); Q080 fewer than 8 samples; Q081 no goal; Q082 no
// layer to choose for.
Result<MixedResult> search_mixed(const ir::Graph& graph, const NextSample& next, const QuantizeOptions& options,
                                 const OnMixedProgress& progress = {});

}  // namespace hai::quantizer

// Layers whose f32 results are too large for the multiplier that makes them.
#pragma once

#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/guards.h"
#include "quantizer/plan.h"
#include "quantizer/ranges.h"

namespace hai::quantizer {

struct LargeResult {
  ir::NodeId node = ir::kNone;
  double multiplier = 0;
  Precision before;
  Precision after;  // the first with more bits whose multiplier is usable; float when none is
};

// Of every integer layer that hands out f32, in the order of the graph.
Result<std::vector<LargeResult>> large_results(const ir::Graph& graph, const Plan& plan, const Ranges& ranges);

Warning to_warning(const ir::Graph& graph, const LargeResult& found);

}  // namespace hai::quantizer

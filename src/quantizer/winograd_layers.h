// Which layers run by winograd_conv2d, and with what taps: chosen from modelled cycles and measured error.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/plan.h"
#include "quantizer/ranges.h"
#include "quantizer/rewrite.h"
#include "quantizer/sample_store.h"

namespace hai::quantizer {

// An eligible layer and why it became what it is.
struct WinogradRow {
  std::string node;
  int tile = 0;  // chosen; 0: direct
  struct Form {
    double cycles = 0;   // modelled (mixed_cost.h)
    double sqnr_db = 0;  // of the layer's result against the f32 layer's, where it is possible and there are samples
    std::string impossible;  // why it is not; empty: it is
  };
  Form direct, f2, f4;
  std::string reason;
};

struct WinogradChoice {
  WinogradLayers layers;
  std::vector<WinogradRow> rows;
};

struct WinogradInput {
  const ir::Graph& graph;  // canonical, f32
  const Plan& plan;
  const Ranges& ranges;
  const Rewritten& direct;  // the same layers as conv2d
  const SampleStore& store;
  const std::vector<size_t>& samples;
  const QuantizeOptions& options;
};

// conv2d layers of 8 bits or f16 with 3x3 windows, stride 1, without dilation or groups, padded by at most 2.
bool is_winograd_eligible(const ir::Graph& graph, const Plan& plan, ir::NodeId id);

// By options.winograd; nothing is read where that is off.
Result<WinogradChoice> choose_winograd(const WinogradInput& input);

}  // namespace hai::quantizer

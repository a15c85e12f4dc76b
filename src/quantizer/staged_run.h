// StagedRun: the values of a graph over all calibration samples, one value after the other in the graph's order, each
// computed once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "ops/interpreter.h"

namespace hai::quantizer {

// Calls its argument with every sample, in order; can be asked again. Samples hold one tensor per graph input.
using EachSample = std::function<Status(const std::function<Status(const std::vector<ops::Tensor>&)>&)>;

// A graph that computes `to` from `from`; other values that it needs are an error of the caller's. Types and names
// stay.
ir::Graph cut_graph(const ir::Graph& graph, const std::vector<ir::NodeId>& order, const std::set<ir::ValueId>& from,
                    const std::vector<ir::ValueId>& to);

class StagedRun {
 public:
  // `graph` must outlive this object; constants of nodes that have not run yet may change between visits.
  // `memory_bytes`: how much of the tensors between two stages is kept; when they are larger, a later stage starts
  // further back.
  StagedRun(const ir::Graph& graph, EachSample samples, int threads, int64_t memory_bytes)
      : graph_(graph), samples_(std::move(samples)), threads_(threads), memory_bytes_(memory_bytes) {
    for (const ir::ValueId input : graph.inputs()) known_.insert(input);
  }

  // Calls `visit(sample, tensor)` with `value` for every sample; a value visited later must not come earlier in the
  // graph's order.
  using Visit = std::function<Status(int64_t sample, const TensorView& tensor)>;
  Status visit(ir::ValueId value, const Visit& visit);

 private:
  using Kept = std::map<ir::ValueId, std::vector<ops::Tensor>>;  // by sample
  std::vector<ir::ValueId> live_after(const std::vector<ir::NodeId>& order, ir::ValueId value) const;
  Status run_stage(ir::ValueId value, const std::vector<ir::NodeId>& order, const Visit& visit);

  const ir::Graph& graph_;
  EachSample samples_;
  int threads_;
  int64_t memory_bytes_;
  std::set<ir::ValueId> known_;  // graph inputs that are still needed, and what kept_ holds
  std::set<ir::NodeId> done_;    // nodes behind known_
  Kept kept_;
};

}  // namespace hai::quantizer

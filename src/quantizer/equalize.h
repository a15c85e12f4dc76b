// Equalization: per-channel scales moved from a tensor into the layers around it, so that its channels have like
// ranges.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "quantizer/calibrate.h"

namespace hai::quantizer {

// A tensor whose channels may be scaled at will: what makes it can divide, all that read it can multiply.
struct ScalableTensor {
  ir::ValueId value = ir::kNone;      // what the readers read
  ir::NodeId producer = ir::kNone;    // conv2d, matmul, or the last of the affine nodes (mul and add of a constant)
  std::vector<ir::NodeId> consumers;  // conv2d or matmul with constant weights
  bool affine = false;                // behind a normalization, not behind a layer
};

// In the order of the graph. Between producer and readers stand only operators that scale with their input (relu,
// leaky_relu, pools, ...): never a clamp, which does not.
Result<std::vector<ScalableTensor>> scalable_tensors(const ir::Graph& graph);

// Rewrites the weights around each tensor for which the expected rounding noise falls; `seen` holds observers with
// channels of the tensors' values (in f32, before). Returns by what each producer's result (by name) is divided; the
// graph computes the same function up to f32 rounding.
using ChannelScales = std::map<std::string, std::vector<double>>;
Result<ChannelScales> equalize(ir::Graph& graph, const std::vector<ScalableTensor>& tensors, const Observations& seen);

}  // namespace hai::quantizer

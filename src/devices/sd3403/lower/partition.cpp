// Segments by phases.
//
// Method: a node's phase is the largest of its producers', one more where the device changes; nodes of one phase and
// device can run together, since no path leaves them and comes back. Segments without a product of note are taken back:
// handing a tensor over costs the cache of the CPU more than an element-wise operator costs it. Moving nodes to the CPU
// can only join phases, so the phases are counted again once.
#include "devices/sd3403/lower/partition.h"

#include <algorithm>
#include <map>
#include <set>

#include "devices/sd3403/lower/segment_builder.h"
#include "ops/work.h"

namespace hai::sd3403 {
namespace {

// Phase of each node; NPU nodes have odd ones.
std::map<ir::NodeId, int64_t> phases_of(const ir::Graph& graph, const std::vector<Placement>& placements) {
  std::map<ir::NodeId, int64_t> phases;
  for (const Placement& placement : placements) {
    int64_t phase = placement.on_npu ? 1 : 0;
    for (const ir::ValueId value : graph.node(placement.node).inputs) {
      if (value == ir::kNone) continue;
      const ir::NodeId producer = graph.value(value).producer;
      if (producer == ir::kNone) continue;
      const int64_t before = phases.at(producer);
      const bool same = (before % 2 == 1) == placement.on_npu;
      phase = std::max(phase, same ? before : before + 1);
    }
    phases[placement.node] = phase;
  }
  return phases;
}

std::map<int64_t, std::vector<size_t>> segments_of(const ir::Graph& graph, const std::vector<Placement>& placements) {
  const std::map<ir::NodeId, int64_t> phases = phases_of(graph, placements);
  std::map<int64_t, std::vector<size_t>> segments;
  for (size_t i = 0; i < placements.size(); ++i) {
    if (placements[i].on_npu) segments[phases.at(placements[i].node)].push_back(i);
  }
  return segments;
}

bool reads_npu(const ir::Node& node, const std::set<ir::ValueId>& made_on_npu) {
  return std::any_of(node.inputs.begin(), node.inputs.end(),
                     [&](ir::ValueId value) { return made_on_npu.contains(value); });
}

}  // namespace

Result<Partition> partition(const ir::Graph& graph, const PartitionOptions& options,
                            const std::map<ir::NodeId, std::string>& too_large) {
  HAI_TRY(const std::vector<ir::NodeId> order, graph.ordered());
  Partition out;
  std::set<ir::ValueId> made_on_npu;
  for (const ir::NodeId id : order) {
    const ir::Node& node = graph.node(id);
    const NpuLowering* lowering = LowerRegistry::instance().find(node.op);
    Placement placement;
    placement.node = id;
    if (lowering == nullptr) {
      placement.reason = "the NPU has no " + node.op;
    } else if (const auto found = too_large.find(id); found != too_large.end()) {
      placement.reason = found->second;
      placement.too_large = true;
    } else if (const Status status = check_legality(lowering->legality, graph, node); !status) {
      placement.reason = status.error().message;
      placement.fixed_batch = is_about_batch(status.error());
    } else if (lowering->moves_nothing && options.least_macs > 0 && !reads_npu(node, made_on_npu)) {
      placement.reason = "it only views what the CPU has";
    } else {
      placement.on_npu = true;
      made_on_npu.insert(node.outputs.begin(), node.outputs.end());
    }
    out.placements.push_back(std::move(placement));
  }
  for (const auto& [phase, members] : segments_of(graph, out.placements)) {
    int64_t macs = 0;
    for (const size_t i : members) macs += ops::macs_of(graph, graph.node(out.placements[i].node));
    if (macs >= options.least_macs) continue;
    for (const size_t i : members) {
      out.placements[i].on_npu = false;
      out.placements[i].reason = "too little work between operators of the CPU to hand over";
    }
  }
  for (const auto& [phase, members] : segments_of(graph, out.placements)) {
    std::vector<ir::NodeId>& segment = out.segments.emplace_back();
    for (const size_t i : members) segment.push_back(out.placements[i].node);
  }
  return out;
}

}  // namespace hai::sd3403

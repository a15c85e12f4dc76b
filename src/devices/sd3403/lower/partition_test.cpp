// What runs where, why, and that no segment needs another device in its middle.
#include "devices/sd3403/lower/partition.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "passes/testing/graph_builder.h"

namespace hai::sd3403 {
namespace {

using passes::testing::GraphBuilder;

class Network : public GraphBuilder {
 public:
  Network() {
    graph.symbols = {{"batch", 1, 16}};
    x = input({Dim(1, 0), Dim(16), Dim(16), Dim(16)}, quantization());
  }
  ir::ValueId conv(ir::ValueId from) {
    return node("conv2d", {from, weights_i8({16, 3, 3, 16}, 0)}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}},
                quantization());
  }
  ir::ValueId add(ir::ValueId a, ir::ValueId b) { return node("add", {a, b}, {}, quantization()); }
  // An operator of the CPU.
  ir::ValueId minimum(ir::ValueId from) { return node("min", {from, from}, {}, quantization()); }
  const Placement& placement(const Partition& partition, ir::ValueId value) const {
    for (const Placement& placement : partition.placements) {
      if (placement.node == graph.value(value).producer) return placement;
    }
    std::abort();
  }

  ir::ValueId x;
};

// Nodes of a segment reach each other through nodes of their own alone.
void expect_convex(const ir::Graph& graph, const Partition& partition) {
  for (const std::vector<ir::NodeId>& segment : partition.segments) {
    const std::set<ir::NodeId> own(segment.begin(), segment.end());
    std::set<ir::NodeId> after;  // nodes of others that hang on this segment
    for (const Placement& placement : partition.placements) {
      bool hangs_on_own = false;
      bool hangs_on_after = false;
      for (const ir::ValueId value : graph.node(placement.node).inputs) {
        const ir::NodeId producer = value == ir::kNone ? ir::kNone : graph.value(value).producer;
        hangs_on_own = hangs_on_own || own.contains(producer);
        hangs_on_after = hangs_on_after || after.contains(producer);
      }
      if (own.contains(placement.node)) {
        EXPECT_FALSE(hangs_on_after) << graph.node(placement.node).name << " waits for what waits for its segment";
      } else if (hangs_on_own || hangs_on_after) {
        after.insert(placement.node);
      }
    }
  }
}

TEST(Partition, ANetworkOfTheNpuIsOneSegment) {
  Network n;
  const ir::ValueId a = n.conv(n.x);
  n.graph.add_output(n.add(a, n.conv(a)));
  const auto partition = sd3403::partition(n.graph);
  ASSERT_TRUE(partition);
  ASSERT_EQ(partition->segments.size(), 1U);
  EXPECT_EQ(partition->segments[0].size(), 3U);
  for (const Placement& placement : partition->placements) EXPECT_TRUE(placement.on_npu && placement.reason.empty());
}

TEST(Partition, ReasonsAreGiven) {
  Network n;
  const ir::ValueId a = n.conv(n.x);
  const ir::ValueId b = n.minimum(a);
  n.graph.add_output(b);
  const auto partition = sd3403::partition(n.graph);
  ASSERT_TRUE(partition);
  EXPECT_FALSE(n.placement(*partition, b).on_npu);
  EXPECT_EQ(n.placement(*partition, b).reason, "the NPU has no min");
}

TEST(Partition, ALittleBetweenOperatorsOfTheCpuStaysThere) {
  Network n;
  const ir::ValueId first = n.conv(n.x);
  const ir::ValueId b = n.minimum(first);
  const ir::ValueId little = n.add(b, b);
  const ir::ValueId c = n.minimum(little);
  const ir::ValueId last = n.conv(c);
  n.graph.add_output(last);
  auto partition = sd3403::partition(n.graph);
  ASSERT_TRUE(partition);
  EXPECT_FALSE(n.placement(*partition, little).on_npu);
  EXPECT_NE(n.placement(*partition, little).reason.find("too little work"), std::string::npos);
  EXPECT_TRUE(n.placement(*partition, first).on_npu);
  EXPECT_TRUE(n.placement(*partition, last).on_npu);
  EXPECT_EQ(partition->segments.size(), 2U);
  expect_convex(n.graph, *partition);
  partition = sd3403::partition(n.graph, {0});
  ASSERT_TRUE(partition);
  EXPECT_TRUE(n.placement(*partition, little).on_npu);
  EXPECT_EQ(partition->segments.size(), 3U);
  expect_convex(n.graph, *partition);
}

TEST(Partition, BranchesAroundTheCpuAreTwoSegments) {
  Network n;
  const ir::ValueId a = n.conv(n.x);
  const ir::ValueId b = n.minimum(a);
  const ir::ValueId beside = n.conv(a);
  n.graph.add_output(n.conv(n.add(b, beside)));
  const auto partition = sd3403::partition(n.graph);
  ASSERT_TRUE(partition);
  EXPECT_EQ(partition->segments.size(), 2U);
  EXPECT_EQ(partition->segments[0].size(), 2U) << "the branch beside runs with the first";
  expect_convex(n.graph, *partition);
}

TEST(Partition, ViewsOfTheCpusTensorsStayThere) {
  Network n;
  const ir::ValueId view = n.node("reshape", {n.x}, {{"shape", std::vector<int64_t>{0, 8, 32, 16}}});
  const ir::ValueId a = n.conv(view);
  const ir::ValueId own = n.node("reshape", {a}, {{"shape", std::vector<int64_t>{0, 32, 8, 16}}});
  n.graph.add_output(n.conv(own));
  const auto partition = sd3403::partition(n.graph);
  ASSERT_TRUE(partition);
  EXPECT_FALSE(n.placement(*partition, view).on_npu);
  EXPECT_TRUE(n.placement(*partition, own).on_npu);
}

}  // namespace
}  // namespace hai::sd3403

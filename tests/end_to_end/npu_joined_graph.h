// For tests: networks whose layers read and write parts of one buffer, a concatenation of which each part is made of
// another: SPPF's pools, depthwise windows, and parts moved up or down by rows with a border where they came from.
#pragma once

#include <vector>

#include "passes/testing/graph_builder.h"

namespace hai::testing {

class NpuJoinedGraph {
 public:
  explicit NpuJoinedGraph(uint32_t seed) : b_(seed), joined_(b_.quantization()) {}

  ir::Graph build() {
    b_.graph.symbols = {{"batch", 1, 16}};
    rows_ = b_.pick(20, 33);
    const ir::ValueId x = b_.input({Dim(1, 0), Dim(rows_), Dim(b_.pick(9, 24)), Dim(8)}, b_.quantization());
    std::vector<ir::ValueId> parts = {convolution(x, 1, 1)};
    const int64_t count = b_.pick(2, 5);
    while (static_cast<int64_t>(parts.size()) < count) {
      const ir::ValueId from = b_.chance(60) ? parts.back() : parts[static_cast<size_t>(b_.pick(0, last(parts)))];
      parts.push_back(part_of(from));
    }
    const ir::ValueId whole = b_.node("concat", parts, {{"axis", int64_t{3}}}, joined_);
    if (b_.chance(70)) b_.graph.add_output(convolution(whole, 3, 1));
    if (b_.chance(30) || b_.graph.outputs().empty()) b_.graph.add_output(whole);
    return std::move(b_.graph);
  }

 private:
  using Ints = std::vector<int64_t>;
  static constexpr int64_t kChannels = 16;

  static int64_t last(const std::vector<ir::ValueId>& parts) { return static_cast<int64_t>(parts.size()) - 1; }

  ir::ValueId convolution(ir::ValueId x, int64_t window, int64_t groups) {
    const int64_t in = b_.shape(x)[3].value;
    const ir::ValueId w = b_.weights_i8({kChannels, window, window, in / groups}, 0);
    return b_.node("conv2d", {x, w, b_.bias_i32(kChannels)}, {{"pads", Ints(4, window / 2)}, {"groups", groups}},
                   joined_);
  }
  ir::ValueId part_of(ir::ValueId x) {
    const int64_t draw = b_.pick(0, 99);
    if (draw < 50) {
      const int64_t window = b_.chance(50) ? 5 : 3;
      return b_.node("max_pool", {x}, {{"kernel", Ints{window, window}}, {"pads", Ints(4, window / 2)}}, joined_);
    }
    return draw < 70 ? convolution(x, 3, kChannels) : moved_by_rows(x, b_.pick(1, 3), b_.chance(50));
  }
  ir::ValueId moved_by_rows(ir::ValueId x, int64_t distance, bool down) {
    const int64_t first = down ? 0 : distance;
    const ir::ValueId kept = b_.node(
        "slice", {x}, {{"axes", Ints{1}}, {"starts", Ints{first}}, {"ends", Ints{first + rows_ - distance}}}, joined_);
    Ints pads(8, 0);
    pads[down ? 1 : 5] = distance;
    return b_.node("pad", {kept}, {{"pads", pads}, {"mode", std::string("constant")}, {"value", 0.4}}, joined_);
  }

  passes::testing::GraphBuilder b_;
  Quantization joined_;
  int64_t rows_ = 0;
};

}  // namespace hai::testing

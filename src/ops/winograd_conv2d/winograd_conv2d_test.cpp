// What the conformance suite cannot know of winograd_conv2d: nodes with hostile attributes are refused by name, and
// with taps that lose nothing the integers are those of conv2d.
#include <gtest/gtest.h>

#include <functional>

#include "ops/build.h"
#include "ops/interpreter.h"
#include "types/winograd.h"

namespace hai::ops {
namespace {

struct Node {
  explicit Node(int64_t tile_outputs, DataType type = DataType::kI8) : tile(tile_outputs) {
    const int64_t side = tile + 2;
    const bool integer = is_integer(type);
    x = {type, {1, 13, 19, 5}, std::nullopt};
    weights = {type, {7, side, side, 5}, std::nullopt};
    bias = {integer ? DataType::kI32 : type, {7}, std::nullopt};
    y = {type, {1, 13, 19, 7}, std::nullopt};
    attributes = {{"tile", tile}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}};
    if (!integer) return;
    x.quantization = per_tensor_quantization(0.02F, 3);
    weights.quantization = Quantization{std::vector<float>(7, 0.01F), std::vector<int32_t>(7, 0), 0, 0};
    y.quantization = per_tensor_quantization(0.3F, -5);
    attributes["input_shifts"] = std::vector<int64_t>(static_cast<size_t>(side * side), 2);
    attributes["weight_shifts"] = std::vector<int64_t>(static_cast<size_t>(side * side), 0);
  }

  Result<ir::ValueId> append() const {
    ir::Graph graph;
    const ir::ValueId image = graph.add_input("x", x);
    const ir::ValueId taps = graph.add_input("weights", weights);
    const ir::ValueId offset = graph.add_input("bias", bias);
    return append_value(graph, "winograd_conv2d", {image, taps, offset}, attributes, {"layer", {"y"}, {y}});
  }
  std::vector<int64_t>& shifts(const char* name) { return std::get<std::vector<int64_t>>(attributes[name]); }

  int64_t tile;
  ir::TensorType x, weights, bias, y;
  ir::Attributes attributes;
};

TEST(WinogradConv2d, HostileNodesAreRefused) {
  const auto refused = [](std::string_view id, const std::function<void(Node&)>& damage,
                          DataType type = DataType::kI8) {
    for (const int64_t tile : {2, 4}) {
      Node node(tile, type);
      ASSERT_TRUE(node.append()) << node.append().error().to_string();
      damage(node);
      const auto made = node.append();
      ASSERT_FALSE(made) << id << " was accepted, tile " << tile;
      EXPECT_EQ(made.error().id, id) << made.error().to_string();
    }
  };
  refused("O006", [](Node& n) { n.attributes.erase("tile"); });
  refused("O745", [](Node& n) { n.attributes["tile"] = int64_t{3}; });
  refused("O741", [](Node& n) { n.weights.shape[1] = 3; });
  refused("O741", [](Node& n) { n.weights.shape[3] = 6; });
  refused("O741", [](Node& n) { n.weights.shape[0] = 0; });
  refused("O740", [](Node& n) { n.weights.shape[0] = Dim(1, 0); });
  refused("O742", [](Node& n) { n.weights.quantization->zero_points[3] = 1; });
  refused("O743", [](Node& n) {
    n.shifts("input_shifts").back() = 15, n.shifts("weight_shifts").back() = 15, n.shifts("weight_shifts").front() = -8,
    n.shifts("input_shifts").front() = 0;
  });
  refused("O743", [](Node& n) { n.x.shape[3] = n.weights.shape[3] = 131072; });
  refused("O744", [](Node& n) {
    n.x.shape[1] = 2;
    n.attributes["pads"] = std::vector<int64_t>{0, 0, 0, 0};
  });
  refused("O746", [](Node& n) { n.attributes["input_shifts"] = std::vector<int64_t>(36, 0); }, DataType::kF32);
  refused("O747", [](Node& n) { n.attributes.erase("weight_shifts"); });
  refused("O747", [](Node& n) { n.attributes.erase("input_shifts"); });
}

TEST(WinogradConv2d, ListsOfWrongLengthOrRangeAreRefused) {
  for (const char* name : {"input_shifts", "weight_shifts"}) {
    for (const int64_t value : {int64_t{16}, int64_t{-9}, INT64_MAX, INT64_MIN}) {
      Node node(4);
      node.shifts(name)[17] = value;
      EXPECT_FALSE(node.append()) << name << " " << value;
    }
    Node longer(2);
    longer.shifts(name).push_back(0);
    EXPECT_FALSE(longer.append());
    Node shorter(4);
    shorter.shifts(name).pop_back();
    EXPECT_FALSE(shorter.append());
    Node empty(4);
    empty.shifts(name).clear();
    EXPECT_FALSE(empty.append());
  }
  Node negative(4);
  negative.shifts("input_shifts")[0] = -1;
  EXPECT_FALSE(negative.append());
  for (const int64_t tile : {int64_t{0}, int64_t{1}, int64_t{5}, INT64_MAX, INT64_MIN}) {
    Node node(4);
    node.attributes["tile"] = tile;
    EXPECT_FALSE(node.append()) << tile;
  }
  for (const std::vector<int64_t>& pads : {std::vector<int64_t>{3, 0, 0, 0}, {0, 0, 0, -1}, {1, 1}}) {
    Node node(2);
    node.attributes["pads"] = pads;
    EXPECT_FALSE(node.append());
  }
  Node rounding(2);
  rounding.attributes["rounding"] = std::string("fixed_point");
  EXPECT_FALSE(rounding.append());
  Node wide(2);
  wide.x.dtype = DataType::kI16;
  EXPECT_FALSE(wide.append());
  Node nibbles(2);
  nibbles.weights.dtype = DataType::kI4;
  EXPECT_FALSE(nibbles.append());
}

Tensor filled(const ir::TensorType& type, int64_t least, int64_t count, uint32_t seed) {
  Tensor out = Tensor::zeros(type.dtype, resolve(type.shape, {}), type.quantization);
  for (std::byte& byte : out.storage) {
    seed = seed * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(least + static_cast<int64_t>(seed >> 8U) % count);
  }
  return out;
}

// F(2x2, 3x3) of small numbers: weights that are multiples of 4 have whole taps, and nothing is clamped.
TEST(WinogradConv2d, LosslessTapsGiveTheConvolution) {
  Node node(2);
  node.attributes["input_shifts"] = std::vector<int64_t>(16, 0);
  ir::TensorType g{DataType::kI8, {7, 3, 3, 5}, node.weights.quantization};
  const Tensor x = filled(node.x, -12, 31, 1);
  Tensor weights = filled(g, -7, 15, 2);
  Tensor taps = Tensor::zeros(DataType::kI8, resolve(node.weights.shape, {}), node.weights.quantization);
  for (int64_t o = 0; o < 7; ++o) {
    for (int64_t c = 0; c < 5; ++c) {
      double small[9];
      double u[16];
      for (int64_t k = 0; k < 9; ++k) {
        auto& weight = weights.storage[static_cast<size_t>((o * 9 + k) * 5 + c)];
        small[k] = 4.0 * static_cast<int8_t>(weight);
        weight = static_cast<std::byte>(4 * static_cast<int8_t>(weight));
      }
      hai_winograd_weights(2, small, u);
      for (int64_t t = 0; t < 16; ++t) {
        taps.storage[static_cast<size_t>((o * 16 + t) * 5 + c)] = static_cast<std::byte>(static_cast<int8_t>(u[t]));
      }
    }
  }
  Tensor bias = Tensor::zeros(DataType::kI32, Dims{7}, std::nullopt);
  const auto run = [&](const char* op, const Tensor& w, const ir::TensorType& type, const ir::Attributes& attributes) {
    ir::Graph graph;
    const ir::ValueId image = graph.add_input("x", node.x);
    const ir::ValueId with = graph.add_input("weights", type);
    const ir::ValueId offset = graph.add_input("bias", node.bias);
    const auto made = append_value(graph, op, {image, with, offset}, attributes, {"layer", {"y"}, {node.y}});
    EXPECT_TRUE(made) << made.error().to_string();
    graph.add_output(*made);
    const std::vector<Tensor> inputs = {x, w, bias};
    const auto out = interpret(graph, inputs);
    EXPECT_TRUE(out) << out.error().to_string();
    return out->outputs[0].storage;
  };
  EXPECT_EQ(run("winograd_conv2d", taps, node.weights, node.attributes),
            run("conv2d", weights, g, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}}));
}

}  // namespace
}  // namespace hai::ops

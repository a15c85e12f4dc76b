// AdaRound through quantize(): every kind of layer and width, against rounding to nearest on samples that it never saw;
// determinism, the cache, errors.
#include "quantizer/reconstruction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "quantizer/quantizer.h"
#include "quantizer/test_network.h"

namespace hai::quantizer {
namespace {

using Ints = std::vector<int64_t>;

struct NetworkBuilder : testing::NetworkBuilder {
  NetworkBuilder() : testing::NetworkBuilder(5) {}

  // A layer with random weights of these dims, `sum` products each, and a bias where the operator takes channels.
  ir::ValueId layer(const std::string& kind, ir::ValueId x, const Ints& dims, int64_t channels, int64_t sum,
                    ir::Attributes attributes, const std::string& name) {
    std::normal_distribution<float> normal(0.0F, 1.0F / std::sqrt(static_cast<float>(sum)));
    size_t count = 1;
    for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
    std::vector<float> weights(count);
    for (float& w : weights) w = normal(random);
    std::vector<float> bias(static_cast<size_t>(channels));
    for (float& b : bias) b = 0.3F * normal(random);
    const ir::ValueId w = ops::add_constant_f32(graph, name + ".w", dims, weights);
    const ir::ValueId b = ops::add_constant_f32(graph, name + ".b", Ints{channels}, bias);
    return op(kind, {x, w, b}, std::move(attributes), name);
  }
};

// Dense, depthwise, grouped, transposed and fully connected layers one after the other.
ir::Graph make_network() {
  NetworkBuilder net;
  net.graph.name = "every_geometry";
  ir::ValueId x = net.graph.add_input("x", {DataType::kF32, to_shape(Ints{1, 13, 11, 3}), {}});
  x = net.layer("conv2d", x, {12, 3, 3, 3}, 12, 27, {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}}, "dense");
  x = net.op("relu6", {x}, {}, "relu6");
  x = net.layer("conv2d", x, {12, 3, 3, 1}, 12, 9, {{"groups", int64_t{12}}, {"pads", Ints{1, 1, 1, 1}}}, "depthwise");
  x = net.op("relu", {x}, {}, "relu");
  x = net.layer("conv2d", x, {9, 1, 1, 4}, 9, 4, {{"groups", int64_t{3}}}, "grouped");
  x = net.op("clip", {x}, {{"min", -0.8}, {"max", 1.1}}, "clip");
  x = net.layer("conv_transpose2d", x, {7, 2, 2, 9}, 7, 9, {{"strides", Ints{2, 2}}}, "transposed");
  x = net.op("relu", {x}, {}, "relu_after");
  x = net.op("reshape", {x}, {{"shape", Ints{1, 14 * 12 * 7}}}, "flat");
  x = net.layer("matmul", x, {14 * 12 * 7, 17}, 17, 100, {}, "matmul");
  x = net.op("relu", {x}, {}, "relu_last");
  x = net.layer("matmul", x, {5, 17}, 5, 17, {{"transpose_b", int64_t{1}}}, "head");
  net.graph.add_output(x);
  return std::move(net.graph);
}

std::vector<ops::Tensor> make_sample(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 1.0F);
  std::vector<ops::Tensor> sample;
  sample.push_back(ops::Tensor::zeros(DataType::kF32, Dims{1, 13, 11, 3}));
  const MutableTensorView view = sample[0].mutable_view();
  const float level = normal(random);
  for (int64_t i = 0; i < view.count(); ++i) data_of<float>(view)[i] = 0.7F * level + normal(random);
  return sample;
}

NextSample samples(uint32_t count) {
  return [count, index = uint32_t{0}]() mutable -> Result<std::optional<std::vector<ops::Tensor>>> {
    if (index == count) return std::optional<std::vector<ops::Tensor>>();
    return std::optional<std::vector<ops::Tensor>>(make_sample(index++));
  };
}

QuantizeOptions options_of(int weight_bits, int activation_bits, bool adaround) {
  QuantizeOptions options;
  options.precision = {weight_bits, activation_bits, false};
  options.adaround = adaround;
  options.adaround_options.iterations = 60;
  options.adaround_options.max_rows = 1000;
  options.self_check = false;
  options.threads = 2;
  return options;
}

// Square error of the outputs against the float graph, over samples that calibration did not have.
double error_of(const ir::Graph& quantized) {
  const ir::Graph exact = make_network();
  double error = 0;
  for (uint32_t seed = 1000; seed < 1012; ++seed) {
    const auto sample = make_sample(seed);
    const auto want = ops::interpret(exact, sample);
    const auto got = ops::interpret(quantized, sample);
    EXPECT_TRUE(want.has_value() && got.has_value());
    if (!want || !got) return 1e30;
    for (int64_t i = 0; i < 5; ++i) {
      const float d = data_of<float>(want->outputs[0].view())[i] - data_of<float>(got->outputs[0].view())[i];
      error += static_cast<double>(d * d);
    }
  }
  return error;
}

TEST(Reconstruction, EveryGeometryAndWidth) {
  for (const int activation_bits : {8, 16}) {
    for (const int weight_bits : {4, 8}) {
      if (weight_bits == 4 && activation_bits == 16) continue;
      const auto nearest = quantize(make_network(), samples(24), options_of(weight_bits, activation_bits, false));
      const auto learned = quantize(make_network(), samples(24), options_of(weight_bits, activation_bits, true));
      ASSERT_TRUE(nearest.has_value()) << nearest.error().to_string();
      ASSERT_TRUE(learned.has_value()) << learned.error().to_string();
      const nlohmann::json report = nlohmann::json::parse(learned->report_json);
      ASSERT_EQ(report["layers"].size(), 6U);
      for (const auto& layer : report["layers"]) {
        ASSERT_TRUE(layer.contains("rounding")) << layer.dump();
        EXPECT_LE(layer["rounding"]["error"].get<double>(), layer["rounding"]["error_solved"].get<double>());
        EXPECT_LE(layer["rounding"]["error_solved"].get<double>(), layer["rounding"]["error_nearest"].get<double>());
      }
      if (weight_bits == 8) continue;
      EXPECT_LT(error_of(learned->graph), error_of(nearest->graph));
    }
  }
}

TEST(Reconstruction, SameBytesOnAnyNumberOfThreadsAndOtherLayersAreLeftAlone) {
  QuantizeOptions options = options_of(4, 8, true);
  options.layers["grouped"] = {8, 8, false};
  options.keep_float = {"head"};
  const auto two = quantize(make_network(), samples(9), options);
  options.threads = 1;
  const auto one = quantize(make_network(), samples(9), options);
  ASSERT_TRUE(two.has_value()) << two.error().to_string();
  ASSERT_TRUE(one.has_value());
  EXPECT_EQ(two->report_json, one->report_json);
  for (ir::ValueId id = 0; id < two->graph.value_slots(); ++id) {
    const ir::Value& value = two->graph.value(id);
    if (!value.is_constant()) continue;
    const auto left = value.constant->bytes();
    const auto right = one->graph.value(id).constant->bytes();
    ASSERT_TRUE(std::equal(left.begin(), left.end(), right.begin(), right.end())) << value.name;
  }
  const std::map<std::string, DataType> wanted = {
      {"grouped", DataType::kI8}, {"dense", DataType::kI4}, {"head", DataType::kF32}};
  size_t found = 0;
  for (ir::NodeId id = 0; id < two->graph.node_slots(); ++id) {
    const auto entry = wanted.find(two->graph.node(id).name);
    if (entry == wanted.end()) continue;
    EXPECT_EQ(two->graph.value(two->graph.node(id).inputs[1]).type.dtype, entry->second) << entry->first;
    ++found;
  }
  EXPECT_EQ(found, wanted.size());
}

// Pruning comes first; learning how to round must not bring back what it took.
TEST(Reconstruction, PrunedWeightsStayZero) {
  for (const int bits : {4, 8}) {
    QuantizeOptions options = options_of(bits, 8, true);
    options.sparsity = 0.5;
    const auto quantized = quantize(make_network(), samples(12), options);
    ASSERT_TRUE(quantized.has_value()) << quantized.error().to_string();
    int64_t zeros = 0;
    int64_t count = 0;
    for (ir::NodeId id = 0; id < quantized->graph.node_slots(); ++id) {
      const ir::Node& node = quantized->graph.node(id);
      if (!node.alive || (node.op != "conv2d" && node.op != "conv_transpose2d" && node.op != "matmul")) continue;
      const ir::Value& weights = quantized->graph.value(node.inputs[1]);
      ASSERT_EQ(weights.type.dtype, bits == 4 ? DataType::kI4 : DataType::kI8) << node.name;
      const int64_t elements = element_count(weights.type.shape)->value;
      for (int64_t i = 0; i < elements; ++i) {
        const auto byte = static_cast<uint8_t>(weights.constant->bytes()[static_cast<size_t>(bits == 4 ? i / 2 : i)]);
        zeros += (bits == 8 ? byte : i % 2 == 0 ? byte & 15 : byte >> 4) == 0 ? 1 : 0;
      }
      count += elements;
    }
    EXPECT_GT(count, 20000);
    EXPECT_GE(2 * zeros, count) << bits;
  }
}

TEST(Reconstruction, CacheAndProgress) {
  RoundingCache cache;
  QuantizeHooks hooks;
  hooks.rounding_cache = &cache;
  std::vector<std::string> layers;
  hooks.rounding_progress = [&](const RoundingProgress& at) -> Status {
    EXPECT_EQ(at.index, static_cast<int64_t>(layers.size()));
    layers.push_back(at.layer);
    EXPECT_LT(at.index, at.count);
    return {};
  };
  ASSERT_TRUE(quantize(make_network(), samples(8), options_of(4, 8, true), hooks).has_value());
  EXPECT_EQ(layers, (std::vector<std::string>{"dense", "depthwise", "grouped", "transposed", "matmul", "head"}));
  EXPECT_EQ(cache.layers.size(), 6U);
  layers.clear();
  QuantizeOptions options = options_of(4, 8, true);
  options.layers["matmul"] = {8, 8, false};
  ASSERT_TRUE(quantize(make_network(), samples(8), options, hooks).has_value());
  EXPECT_EQ(layers, std::vector<std::string>{"matmul"});
  EXPECT_EQ(cache.layers.size(), 7U);

  hooks.rounding_cache = nullptr;
  hooks.rounding_progress = [](const RoundingProgress&) -> Status {
    return make_error(StatusCode::kInvalidArgument, "Q096", "stop here");
  };
  const auto stopped = quantize(make_network(), samples(8), options, hooks);
  ASSERT_FALSE(stopped.has_value());
  EXPECT_NE(stopped.error().to_string().find("stop here"), std::string::npos);
}

}  // namespace
}  // namespace hai::quantizer

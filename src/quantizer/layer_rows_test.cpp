// Rows times weights are the layer's outputs, at every position and for every geometry.
#include "quantizer/layer_rows.h"

#include <gtest/gtest.h>

#include <random>

#include "ops/build.h"
#include "ops/interpreter.h"

namespace hai::quantizer {
namespace {

struct Case {
  const char* name;
  std::string op;
  std::vector<int64_t> x, w;
  ir::Attributes attributes;
};

using Ints = std::vector<int64_t>;

std::vector<Case> cases() {
  return {
      {"pointwise", "conv2d", {2, 5, 7, 13}, {19, 1, 1, 13}, {}},
      {"padded", "conv2d", {1, 13, 9, 5}, {7, 3, 3, 5}, {{"pads", Ints{1, 0, 2, 1}}, {"strides", Ints{2, 1}}}},
      {"dilated", "conv2d", {2, 13, 13, 3}, {4, 3, 2, 3}, {{"dilations", Ints{2, 3}}, {"pads", Ints{2, 3, 2, 0}}}},
      {"grouped", "conv2d", {1, 6, 5, 12}, {9, 3, 3, 4}, {{"groups", int64_t{3}}, {"pads", Ints{1, 1, 1, 1}}}},
      {"depthwise", "conv2d", {2, 7, 7, 13}, {13, 5, 5, 1}, {{"groups", int64_t{13}}, {"pads", Ints{2, 2, 2, 2}}}},
      {"multiplied", "conv2d", {1, 7, 7, 3}, {6, 3, 3, 1}, {{"groups", int64_t{3}}}},
      {"transposed",
       "conv_transpose2d",
       {1, 5, 4, 6},
       {7, 3, 3, 6},
       {{"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}}},
      {"transposed_grouped",
       "conv_transpose2d",
       {2, 4, 5, 6},
       {4, 2, 3, 3},
       {{"groups", int64_t{2}}, {"strides", Ints{2, 3}}, {"output_padding", Ints{1, 0}}}},
      {"matmul", "matmul", {3, 7, 19}, {19, 11}, {}},
      {"matmul_transposed", "matmul", {13, 19}, {11, 19}, {{"transpose_b", int64_t{1}}}},
  };
}

std::vector<float> numbers(const std::vector<int64_t>& dims, uint32_t seed) {
  size_t count = 1;
  for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
  std::mt19937 random(seed);
  std::vector<float> out(count);
  for (float& value : out) value = static_cast<float>(static_cast<int>(random() % 17) - 8);  // sums stay exact
  return out;
}

TEST(LayerRows, TimesWeightsAreTheOutputs) {
  for (const Case& c : cases()) {
    ir::Graph graph;
    const ir::ValueId x = graph.add_input("x", {DataType::kF32, to_shape(c.x), {}});
    const std::vector<float> weights = numbers(c.w, 3);
    const ir::ValueId w = ops::add_constant_f32(graph, "w", c.w, weights);
    const auto y = ops::append_value(graph, c.op, {x, w}, c.attributes, {});
    ASSERT_TRUE(y.has_value()) << c.name << ": " << y.error().to_string();
    graph.add_output(*y);
    ops::Tensor input = ops::Tensor::zeros(DataType::kF32, Dims(std::span<const int64_t>(c.x)));
    const std::vector<float> values = numbers(c.x, 5);
    std::copy(values.begin(), values.end(), data_of<float>(input.mutable_view()));
    const auto result = ops::interpret(graph, std::span(&input, 1));
    ASSERT_TRUE(result.has_value()) << c.name;
    const TensorView want = result->outputs[0].view();

    const auto geometry = LayerGeometry::of(graph, graph.value(*y).producer);
    ASSERT_TRUE(geometry.has_value()) << c.name;
    const int64_t channels = geometry->groups() * geometry->outputs();
    ASSERT_EQ(geometry->positions(input.dims) * channels, want.count()) << c.name;
    std::vector<float> row(static_cast<size_t>(geometry->groups() * geometry->depth()));
    for (int64_t position = 0; position < geometry->positions(input.dims); ++position) {
      geometry->gather(input.view(), position, row);
      for (int64_t channel = 0; channel < channels; ++channel) {
        const int64_t g = channel / geometry->outputs();
        float sum = 0.0F;
        for (int64_t k = 0; k < geometry->depth(); ++k)
          sum += row[static_cast<size_t>(g * geometry->depth() + k)] *
                 weights[static_cast<size_t>(geometry->weight_index(g, channel % geometry->outputs(), k))];
        ASSERT_EQ(sum, data_of<float>(want)[position * channels + channel])
            << c.name << " position " << position << " channel " << channel;
      }
    }
  }
}

TEST(LayerRows, IntegersAreRealNumbers) {
  ir::Graph graph;
  const ir::ValueId x = graph.add_input("x", {DataType::kF32, to_shape(std::vector<int64_t>{2, 3}), {}});
  const std::vector<int64_t> dims = {3, 1};
  const ir::ValueId w = ops::add_constant_f32(graph, "w", dims, std::vector<float>{1, 2, 3});
  const auto y = ops::append_value(graph, "matmul", {x, w}, {}, {});
  ASSERT_TRUE(y.has_value());
  const auto geometry = LayerGeometry::of(graph, graph.value(*y).producer);
  std::vector<float> row(3);
  ops::Tensor bytes = ops::Tensor::zeros(DataType::kI8, Dims{2, 3}, per_tensor_quantization(0.5F, -3));
  data_of<int8_t>(bytes.mutable_view())[4] = 7;
  geometry->gather(bytes.view(), 1, row);
  EXPECT_EQ(row, (std::vector<float>{1.5F, 5.0F, 1.5F}));
  ops::Tensor words = ops::Tensor::zeros(DataType::kI16, Dims{2, 3}, per_tensor_quantization(0.25F, 0));
  data_of<int16_t>(words.mutable_view())[0] = -1000;
  geometry->gather(words.view(), 0, row);
  EXPECT_EQ(row, (std::vector<float>{-250.0F, 0.0F, 0.0F}));
}

TEST(LayerRows, PositionsAreSpreadAndRepeatable) {
  const std::vector<int64_t> positions = sample_positions(1000, 13, 7);
  ASSERT_EQ(positions.size(), 13U);
  for (size_t i = 0; i < positions.size(); ++i) {
    EXPECT_GE(positions[i], static_cast<int64_t>(1000 * i / 13));
    EXPECT_LT(positions[i], static_cast<int64_t>(1000 * (i + 1) / 13));
  }
  EXPECT_EQ(positions, sample_positions(1000, 13, 7));
  EXPECT_NE(positions, sample_positions(1000, 13, 8));
  EXPECT_EQ(sample_positions(3, 10, 1), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_TRUE(sample_positions(0, 10, 1).empty());
}

}  // namespace
}  // namespace hai::quantizer

// Operators that move elements: scales that travel with them, scales that cannot, constants as indices, and the kernels
// that the lowering replaces by views.
//
// Shapes and bounds are tested with the rules (types/shape_rules_test.cpp), values by the generic suite.
#include "ops/data_movement.h"

#include <gtest/gtest.h>

#include "devices/cpu/exec/exec_registry.h"
#include "ops/build.h"

namespace hai::ops {
namespace {

using Ints = std::vector<int64_t>;

Quantization per_slice(int32_t axis, size_t count) {
  Quantization quantization;
  quantization.axis = axis;
  for (size_t i = 0; i < count; ++i) quantization.scales.push_back(0.1F * static_cast<float>(i + 1));
  quantization.zero_points.assign(count, 0);
  return quantization;
}

class Moves : public testing::Test {
 protected:
  // The scale axis of the output, or the error's id.
  std::string scale_axis(std::string_view op, ir::Attributes attributes, std::vector<ir::ValueId> more = {}) {
    std::vector<ir::ValueId> inputs = {weights_};
    inputs.insert(inputs.end(), more.begin(), more.end());
    AppendOptions options;
    const auto node = append(graph_, op, std::move(inputs), std::move(attributes), options);
    if (!node) return node.error().id;
    const auto& quantization = graph_.value(graph_.node(*node).outputs[0]).type.quantization;
    return quantization ? std::to_string(quantization->axis) : "none";
  }

  ir::Graph graph_;
  // OIHW weights with a scale for each output channel.
  ir::ValueId weights_ = graph_.add_input("w", {DataType::kI8, {5, 3, 2, 2}, per_slice(0, 5)});
};

TEST_F(Moves, ScalesPerSliceTravelWithTheirAxis) {
  EXPECT_EQ(scale_axis("transpose", {{"permutation", Ints{0, 2, 3, 1}}}), "0");
  EXPECT_EQ(scale_axis("transpose", {{"permutation", Ints{1, 2, 3, 0}}}), "3");
  EXPECT_EQ(scale_axis("reshape", {{"shape", Ints{5, 12}}}), "0");
  EXPECT_EQ(scale_axis("reshape", {{"shape", Ints{1, 5, 12}}}), "1");
  EXPECT_EQ(scale_axis("reshape", {{"shape", Ints{60}}}), "O300");
  EXPECT_EQ(scale_axis("reshape", {{"shape", Ints{3, 5, 4}}}), "O300");
  EXPECT_EQ(scale_axis("slice", {{"starts", Ints{0}}, {"ends", Ints{1}}, {"axes", Ints{1}}}), "0");
  EXPECT_EQ(scale_axis("slice", {{"starts", Ints{0}}, {"ends", Ints{1}}, {"axes", Ints{-4}}}), "O300");
  EXPECT_EQ(scale_axis("split", {{"axis", int64_t{1}}, {"sizes", Ints{1, 2}}}), "0");
  EXPECT_EQ(scale_axis("split", {{"axis", int64_t{0}}, {"sizes", Ints{1, 4}}}), "O300");
  EXPECT_EQ(scale_axis("expand", {{"shape", Ints{7, 5, 3, 2, 2}}}), "1");
  EXPECT_EQ(scale_axis("concat", {{"axis", int64_t{1}}}, {weights_}), "0");
  EXPECT_EQ(scale_axis("concat", {{"axis", int64_t{0}}}, {weights_}), "O300");
  EXPECT_EQ(scale_axis("pad", {{"pads", Ints(8, 0)}}), "O014");
}

TEST_F(Moves, ConstantIndicesMustBeInRange) {
  const int64_t good[] = {-5, 4};
  const int64_t bad[] = {0, 5};
  const ir::ValueId inside = add_constant_i64(graph_, "inside", Ints{2}, good);
  const ir::ValueId outside = add_constant_i64(graph_, "outside", Ints{2}, bad);
  const ir::ValueId x = graph_.add_input("x", {DataType::kF32, {5, 3}, {}});
  EXPECT_TRUE(append_value(graph_, "gather", {x, inside}));
  const auto refused = append_value(graph_, "gather", {x, outside});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().id, "O410");
}

TEST_F(Moves, RescalingNeedsAUsableRatio) {
  const auto input = [&](float scale) {
    return graph_.add_input("x", {DataType::kI8, {3}, per_tensor_quantization(scale, 0)});
  };
  AppendOptions options;
  options.declared = {ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.001F, 0)}};
  EXPECT_TRUE(append_value(graph_, "concat", {input(0.001F), input(0.1F)}, {}, options));
  const auto ratio = append_value(graph_, "concat", {input(0.001F), input(1.0F)}, {}, options);
  ASSERT_FALSE(ratio);
  EXPECT_EQ(ratio.error().id, "O301");
  EXPECT_NE(ratio.error().where.find("input 1"), std::string::npos) << ratio.error().to_string();
  const ir::ValueId plain = graph_.add_input("plain", {DataType::kI8, {3}, {}});
  const auto mixed = append_value(graph_, "concat", {input(0.001F), plain}, {}, options);
  ASSERT_FALSE(mixed);
  EXPECT_EQ(mixed.error().id, "O302");
}

TEST_F(Moves, APlainBorderIsAnIntegerOfTheType) {
  const ir::ValueId x = graph_.add_input("x", {DataType::kU8, {3}, {}});
  EXPECT_TRUE(append_value(graph_, "pad", {x}, {{"pads", Ints{1, 1}}, {"value", 255.0}}));
  for (const double value : {0.5, 256.0, -1.0}) {
    const auto refused = append_value(graph_, "pad", {x}, {{"pads", Ints{1, 1}}, {"value", value}});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().id, "O370");
  }
}

TEST_F(Moves, ReshapeCopiesWhereItCannotBeAView) {
  format::Instruction instruction;
  instruction.kernel = "reshape";
  instruction.attributes = {{"shape", Ints{19, -1}}};
  const format::ProgramTensor x{"x", DataType::kI8, {13, 19}, per_tensor_quantization(0.1F, 0)};
  const format::ProgramTensor y{"y", DataType::kI8, {19, 13}, per_tensor_quantization(0.1F, 0)};
  const format::ProgramTensor* const inputs[] = {&x};
  const format::ProgramTensor* const outputs[] = {&y};
  const TensorView constants[] = {TensorView{}};
  const auto kernel =
      cpu::ExecRegistry::instance().find("reshape")({instruction, inputs, outputs, constants, {}, cpu::Isa::kScalar});
  ASSERT_TRUE(kernel) << kernel.error().to_string();
  std::vector<std::byte> from(13 * 19);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i);
  std::vector<std::byte> to(from.size());
  const TensorView in_views[] = {{DataType::kI8, Dims{13, 19}, from.data(), nullptr}};
  const MutableTensorView out_views[] = {{DataType::kI8, Dims{19, 13}, to.data(), nullptr}};
  ThreadPool threads(1);
  (*kernel)->run({in_views, out_views, nullptr, threads, 1});
  EXPECT_EQ(to, from);
}

}  // namespace
}  // namespace hai::ops

// What a session keeps of its weights: layers of 4-bit weights hold about half of what 8-bit ones hold, with integer
// and with f32 activations, and 8-bit weights of f32 layers a quarter of f32 ones. No expanded copy stays anywhere.
#include <gtest/gtest.h>

#include "compiler/compile.h"
#include "hai/hai.h"
#include "ops/build.h"
#include "passes/testing/graph_builder.h"

namespace hai {
namespace {

constexpr int64_t kChannels = 128;
constexpr int64_t kTaps = 9;

Quantization weight_scales() {
  return {std::vector<float>(kChannels, 0.01F), std::vector<int32_t>(kChannels, 0), 0, 0};
}

// Bytes that a session of one 3x3 convolution keeps packed.
int64_t packed_bytes(DataType x, DataType weights) {
  passes::testing::GraphBuilder b;
  const Shape shape = {Dim(1), Dim(9), Dim(9), Dim(kChannels)};
  ir::TensorType type{x, shape, {}};
  if (is_integer(x)) type.quantization = per_tensor_quantization(0.05F, 3);
  ir::TensorType weight_type{weights, {Dim(kChannels), Dim(3), Dim(3), Dim(kChannels)}, {}};
  if (is_integer(weights)) weight_type.quantization = weight_scales();
  auto data = ir::ConstantData::allocate(static_cast<size_t>(bytes_for(weights, kChannels * kChannels * kTaps)));
  std::fill(data->mutable_bytes().begin(), data->mutable_bytes().end(), std::byte{0x12});
  const ir::ValueId w = b.graph.add_constant("w", weight_type, std::move(data));
  ops::AppendOptions options;
  if (is_integer(x)) options.declared = {ir::TensorType{x, shape, per_tensor_quantization(5.0F, 0)}};
  const auto y = ops::append_value(b.graph, "conv2d", {b.graph.add_input("x", type), w},
                                   {{"pads", std::vector<int64_t>{1, 1, 1, 1}}}, options);
  EXPECT_TRUE(y) << y.error().to_string();
  b.graph.add_output(*y);
  const auto compiled = compiler::compile(b.graph);
  EXPECT_TRUE(compiled) << compiled.error().to_string();
  const auto bytes = format::serialize(compiled->file);
  EXPECT_TRUE(bytes) << bytes.error().to_string();
  hai_model* model = nullptr;
  hai_session* session = nullptr;
  EXPECT_EQ(hai_model_load_memory(bytes->data(), bytes->size(), &model), HAI_OK) << hai_last_error();
  hai_session_options session_options = HAI_SESSION_OPTIONS_INIT;
  EXPECT_EQ(hai_session_create(model, &session_options, &session), HAI_OK) << hai_last_error();
  hai_memory_info info = HAI_MEMORY_INFO_INIT;
  EXPECT_EQ(hai_session_memory(session, &info), HAI_OK) << hai_last_error();
  hai_session_release(session);
  hai_model_release(model);
  return info.packed_weights_bytes;
}

TEST(PackedWeights, FourBitsTakeHalf) {
  constexpr int64_t kCount = kChannels * kChannels * kTaps;
  for (const DataType x : {DataType::kI8, DataType::kU8, DataType::kI16, DataType::kF32}) {
    const int64_t eight = packed_bytes(x, DataType::kI8);
    const int64_t four = packed_bytes(x, DataType::kI4);
    EXPECT_GE(eight, kCount) << data_type_name(x);
    EXPECT_LE(eight, kCount * 11 / 10) << data_type_name(x);
    EXPECT_GE(four, kCount / 2) << data_type_name(x);
    EXPECT_LE(four, kCount * 11 / 20) << data_type_name(x);
  }
  EXPECT_GE(packed_bytes(DataType::kF32, DataType::kF32), 4 * kCount);
  EXPECT_LE(packed_bytes(DataType::kI16, DataType::kI16), kCount * 22 / 10);
}

}  // namespace
}  // namespace hai

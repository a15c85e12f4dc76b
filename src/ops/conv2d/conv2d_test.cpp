// What the conformance suite cannot know of conv2d: instructions from hostile files are refused by name, sums that
// might overflow are refused, and results do not depend on the number of threads.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <limits>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/exec_registry.h"

namespace hai::cpu {
namespace {

// A sound instruction with its operands; tests break one thing at a time.
struct Instruction {
  explicit Instruction(DataType type) {
    instruction.kernel = "conv2d";
    instruction.name = "layer";
    instruction.attributes = {{"strides", std::vector<int64_t>{1, 1}},
                              {"pads", std::vector<int64_t>{1, 1, 1, 1}},
                              {"dilations", std::vector<int64_t>{1, 1}},
                              {"groups", int64_t{1}}};
    const bool integer = is_integer(type);
    x.dtype = weights.dtype = y.dtype = residual.dtype = type;
    x.shape = {1, 13, 19, 5};
    weights.shape = {7, 3, 3, 5};
    bias.dtype = type == DataType::kI16 ? DataType::kI64 : integer ? DataType::kI32 : DataType::kF32;
    bias.shape = {7};
    y.shape = residual.shape = {1, 13, 19, 7};
    if (integer) {
      x.quantization = per_tensor_quantization(0.02F, 3);
      weights.quantization = Quantization{std::vector<float>(7, 0.01F), std::vector<int32_t>(7, 0), 0, 0};
      y.quantization = residual.quantization = per_tensor_quantization(0.3F, -5);
    }
    weight_bytes.resize(static_cast<size_t>(bytes_for(type, 7 * 3 * 3 * 5)));
    for (size_t i = 0; i < weight_bytes.size(); ++i) weight_bytes[i] = static_cast<std::byte>(integer ? i * 37 : 0);
    bias_bytes.resize(static_cast<size_t>(bytes_for(bias.dtype, 7)));
    weight_view = {type, Dims{7, 3, 3, 5}, weight_bytes.data(), nullptr};
    bias_view = {bias.dtype, Dims{7}, bias_bytes.data(), nullptr};
  }

  Result<std::unique_ptr<CpuKernel>> make(Isa isa = Isa::kScalar) {
    const format::ProgramTensor* inputs[] = {&x, &weights, &bias, with_residual ? &residual : nullptr};
    const format::ProgramTensor* outputs[] = {&y};
    const TensorView constants[] = {{}, weight_view, bias_view, {}};
    return ExecRegistry::instance().find("conv2d")({instruction, inputs, outputs, constants, {}, isa});
  }

  format::Instruction instruction;
  format::ProgramTensor x, weights, bias, residual, y;
  bool with_residual = false;
  std::vector<std::byte> weight_bytes, bias_bytes;
  TensorView weight_view, bias_view;
};

void expect_refused(DataType type, const char* what, const std::function<void(Instruction&)>& damage) {
  Instruction instruction(type);
  ASSERT_TRUE(instruction.make().has_value()) << instruction.make().error().to_string();
  damage(instruction);
  const auto made = instruction.make();
  ASSERT_FALSE(made.has_value()) << what << " was accepted";
  EXPECT_NE(made.error().to_string().find("conv2d 'layer'"), std::string::npos)
      << what << ": " << made.error().to_string();
}

TEST(Conv2dExec, HostileShapesAreRefused) {
  const auto refused = [](const char* what, const std::function<void(Instruction&)>& damage) {
    expect_refused(DataType::kF32, what, damage);
  };
  refused("zero stride", [](Instruction& i) { i.instruction.attributes["strides"] = std::vector<int64_t>{0, 1}; });
  refused("three strides", [](Instruction& i) { i.instruction.attributes["strides"] = std::vector<int64_t>{1, 1, 1}; });
  refused("negative pads",
          [](Instruction& i) { i.instruction.attributes["pads"] = std::vector<int64_t>{-1, 1, 1, 1}; });
  refused("huge dilation",
          [](Instruction& i) { i.instruction.attributes["dilations"] = std::vector<int64_t>{int64_t{1} << 62, 1}; });
  refused("groups of 0", [](Instruction& i) { i.instruction.attributes["groups"] = int64_t{0}; });
  refused("groups that do not divide", [](Instruction& i) { i.instruction.attributes["groups"] = int64_t{2}; });
  refused("pads as text", [](Instruction& i) { i.instruction.attributes["pads"] = std::string("same"); });
  refused("larger output", [](Instruction& i) { i.y.shape = {1, 14, 19, 7}; });
  refused("output of another rank", [](Instruction& i) { i.y.shape = {13, 19, 7}; });
  refused("deeper weights", [](Instruction& i) { i.weights.shape = {7, 3, 3, 6}; });
  refused("empty weights", [](Instruction& i) { i.weights.shape = {7, 0, 3, 5}; });
  refused("symbolic height", [](Instruction& i) { i.x.shape[1] = Dim(1, 0); });
  refused("varying weights", [](Instruction& i) { i.weight_view = {}; });
  refused("varying bias", [](Instruction& i) { i.bias_view = {}; });
  refused("short bias", [](Instruction& i) { i.bias_view.dims = Dims{6}; });
  refused("bias of integers", [](Instruction& i) { i.bias_view.dtype = DataType::kI32; });
  refused("f64", [](Instruction& i) { i.x.dtype = i.weights.dtype = DataType::kF64; });
  refused("f16 output", [](Instruction& i) { i.y.dtype = DataType::kF16; });
  refused("residual of another shape", [](Instruction& i) {
    i.with_residual = true;
    i.residual.shape = {1, 13, 19, 1};
  });
  refused("unknown activation", [](Instruction& i) { i.instruction.attributes["activation"] = std::string("magic"); });
  refused("activation after no residual",
          [](Instruction& i) { i.instruction.attributes["residual_activation"] = std::string("relu"); });
}

TEST(Conv2dExec, HostileQuantizationIsRefused) {
  const auto refused = [](const char* what, const std::function<void(Instruction&)>& damage) {
    expect_refused(DataType::kI8, what, damage);
  };
  refused("x without scale", [](Instruction& i) { i.x.quantization.reset(); });
  refused("x with an infinite scale",
          [](Instruction& i) { i.x.quantization->scales[0] = std::numeric_limits<float>::infinity(); });
  refused("x with a zero point out of range", [](Instruction& i) { i.x.quantization->zero_points[0] = 128; });
  refused("x with no zero point", [](Instruction& i) { i.x.quantization->zero_points.clear(); });
  refused("weights without scale", [](Instruction& i) { i.weights.quantization.reset(); });
  refused("weights with too few scales", [](Instruction& i) { i.weights.quantization->scales.pop_back(); });
  refused("weights with a zero point out of range",
          [](Instruction& i) { i.weights.quantization->zero_points[3] = 128; });
  refused("weights with too few zero points", [](Instruction& i) { i.weights.quantization->zero_points.pop_back(); });
  refused("weights in blocks", [](Instruction& i) { i.weights.quantization->block = 32; });
  refused("multiplier too large", [](Instruction& i) { i.weights.quantization->scales[2] = 1e6F; });
  refused("multiplier too small", [](Instruction& i) { i.weights.quantization->scales[2] = 1e-30F; });
  refused("multiplier that is no number",
          [](Instruction& i) { i.weights.quantization->scales[2] = std::numeric_limits<float>::quiet_NaN(); });
  refused("y without scale", [](Instruction& i) { i.y.quantization.reset(); });
  refused("i32 output", [](Instruction& i) { i.y.dtype = DataType::kI32; });
  refused("a rounding point of 12 bits", [](Instruction& i) {
    i.instruction.attributes["activation"] = std::string("silu");
    i.instruction.attributes["conv_scale"] = 0.1;
    i.instruction.attributes["conv_zero_point"] = int64_t{0};
    i.instruction.attributes["conv_bits"] = int64_t{12};
  });
  refused("a zero point beyond 16 bits", [](Instruction& i) {
    i.instruction.attributes["activation"] = std::string("silu");
    i.instruction.attributes["conv_scale"] = 0.1;
    i.instruction.attributes["conv_zero_point"] = int64_t{40000};
    i.instruction.attributes["conv_bits"] = int64_t{16};
  });
  refused("a residual wider than the output", [](Instruction& i) {
    i.with_residual = true;
    i.residual.dtype = DataType::kI16;
    i.instruction.attributes["pre_residual_scale"] = 0.1;
    i.instruction.attributes["pre_residual_zero_point"] = int64_t{0};
  });
  refused("TensorFlow Lite's rounding to 16 bits", [](Instruction& i) {
    i.y.dtype = DataType::kI16;
    i.instruction.attributes["rounding"] = std::string("fixed_point");
  });
  refused("table without its rounding point",
          [](Instruction& i) { i.instruction.attributes["activation"] = std::string("silu"); });
  refused("residual without its rounding point", [](Instruction& i) { i.with_residual = true; });
  refused("f32 output with an activation", [](Instruction& i) {
    i.y.dtype = DataType::kF32;
    i.instruction.attributes["activation"] = std::string("relu");
  });
  refused("sums beyond 32 bits", [](Instruction& i) {
    const int32_t large = std::numeric_limits<int32_t>::max() - 1000;
    std::memcpy(i.bias_bytes.data() + 8, &large, 4);
  });
}

TEST(Conv2dExec, HostileInstructionsOf16BitsAreRefused) {
  const auto refused = [](const char* what, const std::function<void(Instruction&)>& damage) {
    expect_refused(DataType::kI16, what, damage);
  };
  const auto set_bias = [](int64_t bias) {
    return [bias](Instruction& i) { std::memcpy(i.bias_bytes.data() + 16, &bias, 8); };
  };
  refused("sums beyond 53 bits", set_bias((int64_t{1} << 53) - 1000));
  refused("the least bias there is", set_bias(std::numeric_limits<int64_t>::min()));
  refused("8-bit output", [](Instruction& i) { i.y.dtype = DataType::kI8; });
  refused("i32 bias", [](Instruction& i) { i.bias_view.dtype = DataType::kI32; });
  refused("i32 weights", [](Instruction& i) { i.weights.dtype = DataType::kI32; });
  refused("x with a zero point out of range", [](Instruction& i) { i.x.quantization->zero_points[0] = 32768; });
  refused("residual of i32", [](Instruction& i) {
    i.with_residual = true;
    i.residual.dtype = DataType::kI32;
  });
  expect_refused(DataType::kI8, "i16 weights for i8", [](Instruction& i) { i.weights.dtype = DataType::kI16; });
}

TEST(Conv2dExec, ThreadsDoNotChangeABit) {
  constexpr int64_t kSize = 37;
  for (const Isa isa : available_isas()) {
    for (const DataType type : {DataType::kF32, DataType::kI8, DataType::kI16}) {
      Instruction layer(type);
      layer.x.shape = {2, kSize, kSize, 5};
      layer.y.shape = {2, kSize, kSize, 7};
      if (type == DataType::kF32) {
        for (size_t i = 0; i < layer.weight_bytes.size(); i += 4) {
          const float weight = 0.01F * static_cast<float>(i % 97) - 0.4F;
          std::memcpy(&layer.weight_bytes[i], &weight, 4);
        }
      }
      const auto kernel = layer.make(isa);
      ASSERT_TRUE(kernel.has_value()) << kernel.error().to_string();
      const Dims x_dims{2, kSize, kSize, 5};
      const Dims y_dims{2, kSize, kSize, 7};
      std::vector<std::byte> x(static_cast<size_t>(bytes_for(type, x_dims.count())));
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::byte>(i * 131 % 251);
      if (type == DataType::kF32) {
        for (size_t i = 0; i < x.size(); i += 4) {
          const float value = 0.03F * static_cast<float>(i % 89) - 1.0F;
          std::memcpy(&x[i], &value, 4);
        }
      }
      std::vector<std::byte> first;
      for (const int threads : {1, 2, 3, 5}) {
        ThreadPool pool(threads);
        const auto scratch = AlignedBuffer::zeros((*kernel)->scratch_bytes(2, pool.thread_count()));
        ASSERT_TRUE(scratch.has_value());
        std::vector<std::byte> y(static_cast<size_t>(bytes_for(type, y_dims.count())));
        const TensorView inputs[] = {{type, x_dims, x.data(), nullptr}, {}, {}, {}};
        const MutableTensorView outputs[] = {{type, y_dims, y.data(), nullptr}};
        (*kernel)->run({inputs, outputs, const_cast<std::byte*>(scratch->data()), pool, 2});
        if (first.empty()) first = y;
        EXPECT_EQ(first, y) << isa_name(isa) << " " << data_type_name(type) << " with " << threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace hai::cpu

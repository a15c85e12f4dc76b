// What the conformance suite cannot know of winograd_conv2d's kernel: instructions from hostile files are refused by
// name, and results do not depend on the number of threads.
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
  explicit Instruction(DataType type, int64_t tile = 4) {
    const int64_t side = tile + 2;
    const auto taps = static_cast<size_t>(side * side);
    const bool integer = is_integer(type);
    instruction.kernel = "winograd_conv2d";
    instruction.name = "layer";
    instruction.attributes = {{"tile", tile}, {"pads", std::vector<int64_t>{1, 1, 1, 1}}};
    x.dtype = weights.dtype = y.dtype = type;
    x.shape = {1, 13, 19, 5};
    weights.shape = {7, side, side, 5};
    bias.dtype = integer ? DataType::kI32 : DataType::kF32;  // of f16 too
    bias.shape = {7};
    y.shape = {1, 13, 19, 7};
    if (integer) {
      instruction.attributes["input_shifts"] = std::vector<int64_t>(taps, 4);
      instruction.attributes["weight_shifts"] = std::vector<int64_t>(taps, 0);
      x.quantization = per_tensor_quantization(0.02F, 3);
      weights.quantization = Quantization{std::vector<float>(7, 0.01F), std::vector<int32_t>(7, 0), 0, 0};
      y.quantization = per_tensor_quantization(3.0F, -5);
    }
    weight_bytes.resize(static_cast<size_t>(bytes_for(type, static_cast<int64_t>(taps) * 7 * 5)));
    for (size_t i = 0; i < weight_bytes.size(); ++i) weight_bytes[i] = static_cast<std::byte>(integer ? i * 37 : 0);
    bias_bytes.resize(static_cast<size_t>(bytes_for(bias.dtype, 7)));
    weight_view = {type, Dims{7, side, side, 5}, weight_bytes.data(), nullptr};
    bias_view = {bias.dtype, Dims{7}, bias_bytes.data(), nullptr};
  }

  Result<std::unique_ptr<CpuKernel>> make(Isa isa = Isa::kScalar) {
    const format::ProgramTensor* inputs[] = {&x, &weights, &bias, nullptr};
    const format::ProgramTensor* outputs[] = {&y};
    const TensorView constants[] = {{}, weight_view, bias_view, {}};
    return ExecRegistry::instance().find("winograd_conv2d")({instruction, inputs, outputs, constants, {}, isa});
  }
  format::Attributes& attributes() { return instruction.attributes; }
  std::vector<int64_t>& shifts(const char* name) { return std::get<std::vector<int64_t>>(attributes()[name]); }

  format::Instruction instruction;
  format::ProgramTensor x, weights, bias, y;
  std::vector<std::byte> weight_bytes, bias_bytes;
  TensorView weight_view, bias_view;
};

void expect_refused(DataType type, const char* what, const std::function<void(Instruction&)>& damage) {
  Instruction instruction(type);
  ASSERT_TRUE(instruction.make().has_value()) << instruction.make().error().to_string();
  damage(instruction);
  const auto made = instruction.make();
  ASSERT_FALSE(made.has_value()) << what << " was accepted";
  EXPECT_NE(made.error().to_string().find("winograd_conv2d 'layer'"), std::string::npos)
      << what << ": " << made.error().to_string();
}

TEST(WinogradConv2dExec, HostileShapesAreRefused) {
  for (const DataType type : {DataType::kF32, DataType::kF16, DataType::kI8}) {
    const auto refused = [&](const char* what, const std::function<void(Instruction&)>& damage) {
      expect_refused(type, what, damage);
    };
    refused("no tile", [](Instruction& i) { i.attributes().erase("tile"); });
    refused("tile 3", [](Instruction& i) { i.attributes()["tile"] = int64_t{3}; });
    refused("tile 2 with taps of 4", [](Instruction& i) { i.attributes()["tile"] = int64_t{2}; });
    refused("a huge tile", [](Instruction& i) { i.attributes()["tile"] = int64_t{1} << 62; });
    refused("pads of 3", [](Instruction& i) { i.attributes()["pads"] = std::vector<int64_t>{3, 1, 1, 1}; });
    refused("pads as text", [](Instruction& i) { i.attributes()["pads"] = std::string("same"); });
    refused("two pads", [](Instruction& i) { i.attributes()["pads"] = std::vector<int64_t>{1, 1}; });
    refused("larger output", [](Instruction& i) { i.y.shape = {1, 14, 19, 7}; });
    refused("other channels", [](Instruction& i) { i.y.shape = {1, 13, 19, 8}; });
    refused("output of another rank", [](Instruction& i) { i.y.shape = {13, 19, 7}; });
    refused("deeper taps", [](Instruction& i) { i.weights.shape = {7, 6, 6, 6}; });
    refused("symbolic height", [](Instruction& i) { i.x.shape[1] = Dim(1, 0); });
    refused("an image smaller than a window", [](Instruction& i) {
      i.x.shape = {1, 0, 19, 5};
      i.y.shape = {1, 0, 19, 7};
    });
    refused("varying taps", [](Instruction& i) { i.weight_view = {}; });
    refused("short bias", [](Instruction& i) { i.bias_view.dims = Dims{6}; });
    refused("bf16 output", [](Instruction& i) { i.y.dtype = DataType::kBF16; });
    refused("TensorFlow Lite's rounding",
            [](Instruction& i) { i.attributes()["rounding"] = std::string("fixed_point"); });
  }
}

TEST(WinogradConv2dExec, HostileIntegersAreRefused) {
  const auto refused = [](const char* what, const std::function<void(Instruction&)>& damage) {
    expect_refused(DataType::kI8, what, damage);
  };
  refused("no shifts", [](Instruction& i) { i.attributes().erase("input_shifts"); });
  refused("no weight shifts", [](Instruction& i) { i.attributes().erase("weight_shifts"); });
  refused("a shift too many", [](Instruction& i) { i.shifts("input_shifts").push_back(0); });
  refused("a shift too few", [](Instruction& i) { i.shifts("weight_shifts").pop_back(); });
  refused("a shift of 16", [](Instruction& i) { i.shifts("input_shifts")[7] = 16; });
  refused("a negative shift", [](Instruction& i) { i.shifts("input_shifts")[7] = -1; });
  refused("a weight shift of -9", [](Instruction& i) { i.shifts("weight_shifts")[35] = -9; });
  refused("sums beyond 53 bits", [](Instruction& i) {
    i.shifts("weight_shifts")[0] = -8;
    i.shifts("input_shifts")[0] = 0;
    i.shifts("weight_shifts")[28] = 15;
    i.shifts("input_shifts")[28] = 15;
  });
  refused("i16 x", [](Instruction& i) { i.x.dtype = DataType::kI16; });
  refused("u8 taps", [](Instruction& i) { i.weights.dtype = DataType::kU8; });
  refused("taps with a zero point", [](Instruction& i) { i.weights.quantization->zero_points[3] = 1; });
  refused("x without scale", [](Instruction& i) { i.x.quantization.reset(); });
  refused("a multiplier too large", [](Instruction& i) { i.weights.quantization->scales[2] = 1e6F; });
  refused("a multiplier that is no number",
          [](Instruction& i) { i.weights.quantization->scales[2] = std::numeric_limits<float>::quiet_NaN(); });
}

TEST(WinogradConv2dExec, ThreadsDoNotChangeABit) {
  for (const Isa isa : {available_isas().front(), available_isas().back()}) {
    for (const int64_t tile : {2, 4}) {
      Instruction layer(DataType::kI8, tile);
      layer.x.shape = {2, 37, 37, 5};
      layer.y.shape = {2, 37, 37, 7};
      const auto kernel = layer.make(isa);
      ASSERT_TRUE(kernel.has_value()) << kernel.error().to_string();
      const Dims x_dims{2, 37, 37, 5};
      const Dims y_dims{2, 37, 37, 7};
      std::vector<std::byte> x(static_cast<size_t>(x_dims.count()));
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::byte>(i * 131 % 251);
      std::vector<std::byte> first;
      for (const int threads : {1, 2, 3, 5}) {
        ThreadPool pool(threads);
        const auto scratch = AlignedBuffer::zeros((*kernel)->scratch_bytes(2, pool.thread_count()));
        ASSERT_TRUE(scratch.has_value());
        std::vector<std::byte> y(static_cast<size_t>(y_dims.count()));
        const TensorView inputs[] = {{DataType::kI8, x_dims, x.data(), nullptr}, {}, {}, {}};
        const MutableTensorView outputs[] = {{DataType::kI8, y_dims, y.data(), nullptr}};
        (*kernel)->run({inputs, outputs, const_cast<std::byte*>(scratch->data()), pool, 2});
        if (first.empty()) first = y;
        EXPECT_EQ(first, y) << isa_name(isa) << ", tile " << tile << ", " << threads << " threads";
      }
      EXPECT_NE(std::count(first.begin(), first.end(), first.front()), static_cast<int64_t>(first.size()));
    }
  }
}

}  // namespace
}  // namespace hai::cpu

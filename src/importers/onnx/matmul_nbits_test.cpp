// MatMulNBits: values against the definition with odd sizes, with and without zero points, and what is refused.
#include <gtest/gtest.h>

#include <cstring>

#include "importers/onnx/onnx_import.h"
#include "importers/onnx/onnx_test_model.h"
#include "ops/interpreter.h"

namespace hai::onnx_import {
namespace {

constexpr int kOnnxUint8 = 2;
constexpr int64_t kK = 39, kN = 3, kBlock = 16, kBlocks = 3;

struct Operands {
  int64_t bits;
  std::string b, zero_points;
  std::vector<float> scales;
  int64_t b_row() const { return kBlocks * kBlock * bits / 8; }
  int64_t zero_row() const { return (kBlocks * bits + 7) / 8; }
};

Operands operands(int64_t bits) {
  Operands out{bits, {}, {}, {}};
  for (int64_t i = 0; i < kN * out.b_row(); ++i) out.b += static_cast<char>(i * 37 + 11);
  for (int64_t i = 0; i < kN * out.zero_row(); ++i) out.zero_points += static_cast<char>(i * 53 + 7);
  for (int64_t i = 0; i < kN * kBlocks; ++i) out.scales.push_back(0.01F * static_cast<float>(1 + i % 4));
  return out;
}

int unsigned_at(const std::string& bytes, int64_t row, int64_t i, int64_t bits) {
  const auto byte = static_cast<uint8_t>(bytes[static_cast<size_t>(row + (bits == 8 ? i : i / 2))]);
  return bits == 8 ? byte : (byte >> (4 * (i % 2))) & 15;
}

TestModel model(const Operands& o, bool zero_points, int64_t block = kBlock) {
  TestModel out;
  out.input("a", {int64_t{2}, kK});
  out.initializer("b", {kOnnxUint8, {kN, kBlocks, kBlock * o.bits / 8}, o.b});
  out.initializer("s", TestTensor::of({kN * kBlocks}, o.scales));
  std::vector<std::string> inputs{"a", "b", "s"};
  if (zero_points) {
    out.initializer("z", {kOnnxUint8, {static_cast<int64_t>(o.zero_points.size())}, o.zero_points});
    inputs.emplace_back("z");
  }
  out.node("MatMulNBits", inputs, {"y"}, {{"K", kK}, {"N", kN}, {"bits", o.bits}, {"block_size", block}},
           "com.microsoft");
  out.output("y");
  return out;
}

Result<ir::Graph> import(const TestModel& model) {
  const std::string bytes = model.bytes();
  return import_onnx_bytes(std::as_bytes(std::span(bytes)));
}

TEST(MatMulNBits, ComputesItsDefinition) {
  for (const int64_t bits : {4, 8}) {
    for (const bool zero_points : {false, true}) {
      const Operands o = operands(bits);
      const auto graph = import(model(o, zero_points));
      ASSERT_TRUE(graph) << graph.error().to_string();
      ops::Tensor a = ops::Tensor::zeros(DataType::kF32, {2, kK});
      for (int64_t i = 0; i < 2 * kK; ++i) {
        const float value = static_cast<float>(i % 13) - 6.0F;
        std::memcpy(a.storage.data() + i * 4, &value, 4);
      }
      const auto result = ops::interpret(*graph, {{a}});
      ASSERT_TRUE(result) << result.error().to_string();
      for (int64_t m = 0; m < 2; ++m) {
        for (int64_t n = 0; n < kN; ++n) {
          double want = 0.0;
          for (int64_t k = 0; k < kK; ++k) {
            const int64_t block = k / kBlock;
            const int zero = zero_points ? unsigned_at(o.zero_points, n * o.zero_row(), block, bits) : 1 << (bits - 1);
            const double scale = static_cast<double>(o.scales[static_cast<size_t>(n * kBlocks + block)]);
            want += (static_cast<double>((m * kK + k) % 13) - 6.0) * scale *
                    (unsigned_at(o.b, n * o.b_row(), k, bits) - zero);
          }
          float got = 0.0F;
          std::memcpy(&got, result->outputs[0].storage.data() + (m * kN + n) * 4, 4);
          EXPECT_NEAR(static_cast<double>(got), want, 1e-4) << bits << " bits, element " << m << ", " << n;
        }
      }
    }
  }
}

TEST(MatMulNBits, RefusesWhatDoesNotFit) {
  const auto refused = [](const TestModel& model) { return !import(model); };
  EXPECT_TRUE(refused(model(operands(4), false, 24))) << "a block of 24";
  EXPECT_TRUE(refused(model(operands(4), false, 32))) << "bytes of another block size";
  Operands o = operands(4);
  o.b.pop_back();
  EXPECT_TRUE(refused(model(o, false))) << "B cut short";
  o = operands(4);
  o.zero_points += 'x';
  EXPECT_TRUE(refused(model(o, true))) << "too many zero points";
  o = operands(4);
  o.scales[2] = -0.5F;
  EXPECT_TRUE(refused(model(o, false))) << "a negative scale";
  o = operands(4);
  o.bits = 2;
  EXPECT_TRUE(refused(model(o, false))) << "2 bits";
}

}  // namespace
}  // namespace hai::onnx_import

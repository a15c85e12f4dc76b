// The reductions: the order of float sums is one and the same everywhere; sums of nothing; free batches; what is
// refused.
//
// Kernels are made from hand-written instructions, without compiler and runtime.
#include <gtest/gtest.h>

#include <cstring>

#include "devices/cpu/exec/exec_registry.h"
#include "ops/build.h"
#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::ops {
namespace {

using Ints = std::vector<int64_t>;

// One reduction of f32 on the CPU; the program's shapes are those of the run.
Result<std::vector<float>> run_on_cpu(const std::string& kernel, const Dims& in, const Dims& out, Ints axes,
                                      const std::vector<float>& values, cpu::Isa isa, int thread_count) {
  format::Instruction instruction;
  instruction.kernel = kernel;
  instruction.attributes = {{"axes", std::move(axes)}, {"keep_dims", int64_t{0}}};
  const format::ProgramTensor x{"x", DataType::kF32, to_shape(in), {}};
  const format::ProgramTensor y{"y", DataType::kF32, to_shape(out), {}};
  const format::ProgramTensor* const inputs[] = {&x};
  const format::ProgramTensor* const outputs[] = {&y};
  const TensorView constants[] = {TensorView{}};
  HAI_TRY(const auto made,
          cpu::ExecRegistry::instance().find(kernel)({instruction, inputs, outputs, constants, {}, isa}));
  std::vector<float> result(static_cast<size_t>(out.count()));
  const TensorView in_views[] = {{DataType::kF32, in, reinterpret_cast<const std::byte*>(values.data()), nullptr}};
  const MutableTensorView out_views[] = {{DataType::kF32, out, reinterpret_cast<std::byte*>(result.data()), nullptr}};
  ThreadPool threads(thread_count);
  made->run({in_views, out_views, nullptr, threads, 1});
  return result;
}

std::vector<float> noise(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  uint32_t state = 7;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = (static_cast<float>(state >> 8) / 16777216.0F - 0.3F) * static_cast<float>(1U << (state % 11U));
  }
  return values;
}

TEST(Reduce, FloatSumsHaveOneOrderForAllInstructionSetsAndThreads) {
  struct Case {
    Dims in, out;
    Ints axes;
  };
  const Case cases[] = {{Dims{67, 5003}, Dims{67}, {1}},
                        {Dims{5003, 67}, Dims{67}, {0}},
                        {Dims{3, 127, 113, 35}, Dims{3, 35}, {1, 2}},
                        {Dims{13, 19, 67, 31}, Dims{19, 31}, {0, 2}}};
  for (const Case& one : cases) {
    const std::vector<float> values = noise(one.in.count());
    const auto want = run_on_cpu("reduce_mean", one.in, one.out, one.axes, values, cpu::Isa::kScalar, 1);
    ASSERT_TRUE(want) << want.error().to_string();
    for (const cpu::Isa isa : cpu::available_isas()) {
      for (const int threads : {1, 2, 5}) {
        const auto got = run_on_cpu("reduce_mean", one.in, one.out, one.axes, values, isa, threads);
        ASSERT_TRUE(got);
        EXPECT_EQ(std::memcmp(got->data(), want->data(), want->size() * sizeof(float)), 0)
            << to_string(one.in) << " on " << cpu::isa_name(isa) << " with " << threads << " threads";
      }
    }
  }
}

TEST(Reduce, ASumOfNothingIsZero) {
  const auto y = run_on_cpu("reduce_sum", Dims{3, 0, 5}, Dims{3, 5}, {1}, {}, cpu::Isa::kScalar, 1);
  ASSERT_TRUE(y) << y.error().to_string();
  EXPECT_EQ(*y, std::vector<float>(15, 0.0F));
  EXPECT_FALSE(run_on_cpu("reduce_max", Dims{3, 0, 5}, Dims{3, 5}, {1}, {}, cpu::Isa::kScalar, 1));
  EXPECT_FALSE(run_on_cpu("reduce_mean", Dims{3, 0, 5}, Dims{3, 5}, {1}, {}, cpu::Isa::kScalar, 1));
}

TEST(Reduce, InferenceRefuses) {
  ir::Graph graph;
  graph.symbols = {{"N", 1, 16}};
  const Quantization scale = per_tensor_quantization(0.1F, 0);
  const ir::ValueId empty = graph.add_input("empty", {DataType::kF32, {3, 0}, {}});
  const ir::ValueId batch = graph.add_input("batch", {DataType::kI8, {Dim(1, 0), 1000000}, scale});
  const ir::ValueId plain = graph.add_input("plain", {DataType::kI64, {3, 5}, {}});
  const auto refused = [&](std::string_view op, ir::ValueId x, Ints axes, AppendOptions options = {}) {
    const auto result = append_value(graph, op, {x}, {{"axes", std::move(axes)}}, std::move(options));
    return result ? std::string("accepted") : result.error().id;
  };
  EXPECT_EQ(refused("reduce_mean", empty, {1}), "O333");
  EXPECT_EQ(refused("reduce_min", empty, {1}), "O333");
  EXPECT_EQ(refused("reduce_sum", empty, {1}), "accepted");
  EXPECT_EQ(refused("reduce_sum", empty, {2}), "O330");
  EXPECT_EQ(refused("reduce_sum", empty, {1, -1}), "O330");
  EXPECT_EQ(refused("reduce_mean", plain, {1}), "O010");
  EXPECT_EQ(refused("reduce_sum", plain, {1}), "accepted");
  AppendOptions declared;
  declared.declared = {ir::TensorType{DataType::kI8, {}, scale}};
  EXPECT_EQ(refused("reduce_mean", batch, {1}, declared), "accepted");
  EXPECT_EQ(refused("reduce_mean", batch, {0, 1}, declared), "O332") << "16 million elements at the largest batch";
}

TEST(Reduce, TheMeanOverAFreeBatch) {
  ir::Graph graph;
  graph.symbols = {{"N", 1, 16}};
  const ir::ValueId x = graph.add_input("x", {DataType::kI8, {Dim(1, 0), 3}, per_tensor_quantization(0.5F, 1)});
  AppendOptions options;
  options.declared = {ir::TensorType{DataType::kI8, {}, per_tensor_quantization(0.5F, 0)}};
  const auto y = append_value(graph, "reduce_mean", {x}, {{"axes", Ints{0, 1}}}, options);
  ASSERT_TRUE(y) << y.error().to_string();
  graph.add_output(*y);
  for (const int64_t batch : {1, 2, 5}) {
    std::vector<Tensor> inputs = {Tensor::zeros(DataType::kI8, Dims{batch, 3})};
    for (int64_t i = 0; i < batch * 3; ++i) store_integer(inputs[0].mutable_view(), i, 11);
    const auto result = interpret(graph, inputs);
    ASSERT_TRUE(result) << result.error().to_string();
    EXPECT_EQ(load_integer(result->outputs[0].view(), 0), 10);
  }
}

}  // namespace
}  // namespace hai::ops

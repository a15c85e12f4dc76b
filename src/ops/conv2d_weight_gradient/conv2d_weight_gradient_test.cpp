// Convolutions of a training step, forward and backward: the bits do not depend on the number of threads, on any
// instruction set. Values are the conformance suite's business.
#include <gtest/gtest.h>

#include <random>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/isa.h"
#include "ops/conv2d/conv2d.h"

namespace hai::cpu {
namespace {

constexpr int64_t kImages = 3;

std::vector<float> run(const std::string& kernel, const format::Attributes& attributes,
                       const std::vector<Shape>& shapes, Isa isa, int threads) {
  format::Instruction instruction;
  instruction.kernel = kernel;
  instruction.name = kernel;
  instruction.attributes = attributes;
  std::vector<format::ProgramTensor> tensors;
  std::vector<AlignedBuffer> buffers;
  std::mt19937 random(11);
  std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
  for (const Shape& shape : shapes) {
    format::ProgramTensor& tensor = tensors.emplace_back();
    tensor.dtype = DataType::kF32;
    tensor.shape = shape;
    buffers.push_back(*AlignedBuffer::zeros(resolve(shape, {}).count() * 4));
    for (float& value : buffers.back().as<float>()) value = uniform(random);
  }
  const format::ProgramTensor* inputs[] = {&tensors[0], &tensors[1]};
  const format::ProgramTensor* outputs[] = {&tensors[2]};
  const TensorView constants[2] = {};
  const auto made = ExecRegistry::instance().find(kernel)({instruction, inputs, outputs, constants, {}, isa});
  EXPECT_TRUE(made) << (made ? "" : made.error().to_string());
  if (!made) return {};
  const auto dims = [&](size_t i) { return resolve(shapes[i], {}); };
  const TensorView views[] = {{DataType::kF32, dims(0), buffers[0].data(), nullptr},
                              {DataType::kF32, dims(1), buffers[1].data(), nullptr}};
  const MutableTensorView result = {DataType::kF32, dims(2), buffers[2].data(), nullptr};
  ThreadPool pool(threads);
  auto scratch = *AlignedBuffer::zeros((*made)->scratch_bytes(1, threads));
  (*made)->run({views, {&result, 1}, scratch.data(), pool, 1});
  const auto values = buffers[2].as<float>();
  return {values.begin(), values.end()};
}

TEST(TrainedConvolutions, BitsDoNotDependOnThreads) {
  for (const ops::ConvSampleGeometry& g : ops::conv_sample_geometries()) {
    const Shape x = {kImages, g.h, g.w, g.c};
    const Shape y = {kImages, g.out_rows(), g.out_cols(), g.o};
    const Shape w = {g.o, g.kh, g.kw, g.c / g.groups};
    format::Attributes attributes;
    for (const auto& [name, value] : g.attributes()) attributes[name] = value;
    format::Attributes of_weights = attributes;
    of_weights["kernel"] = std::vector<int64_t>{g.kh, g.kw};
    format::Attributes of_input = attributes;
    of_input["size"] = std::vector<int64_t>{g.h, g.w};
    for (const Isa isa : available_isas()) {
      const auto expect_same = [&](const char* kernel, const format::Attributes& given,
                                   const std::vector<Shape>& shapes) {
        const std::vector<float> one = run(kernel, given, shapes, isa, 1);
        for (const int threads : {2, 5})
          EXPECT_EQ(one, run(kernel, given, shapes, isa, threads)) << kernel << " " << g.name << " " << isa_name(isa);
      };
      expect_same("conv2d_weight_gradient", of_weights, {x, y, w});
      expect_same("conv2d_input_gradient", of_input, {y, w, x});
      expect_same("conv2d_variable", attributes, {x, w, y});
    }
  }
}

}  // namespace
}  // namespace hai::cpu

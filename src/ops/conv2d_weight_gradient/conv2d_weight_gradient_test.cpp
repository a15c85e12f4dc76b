// Convolutions of a training step, forward and backward: the bits depend neither on the number of threads nor on how
// large an image is (large ones go past the caches), on any instruction set. Values are the conformance suite's
// business.
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
  }
  // The image last: a smaller one is the beginning of a larger one.
  for (const size_t i : {size_t{1}, size_t{0}}) {
    for (float& value : buffers[i].as<float>()) value = uniform(random);
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

// 17 MiB of result or image: past the caches; the first rows alone are not.
TEST(TrainedConvolutions, BitsDoNotDependOnTheSizeOfTheImage) {
  constexpr int64_t kCols = 128, kRows = 520, kFew = 8;
  struct Case {
    const char* kernel;
    int64_t in, out, taps, stride, groups;
  };
  for (const Case& c : {Case{"conv2d_variable", 16, 64, 1, 1, 1}, Case{"conv2d_variable", 64, 20, 1, 1, 1},
                        Case{"conv2d_variable", 64, 64, 3, 1, 64}, Case{"conv2d_input_gradient", 64, 64, 3, 2, 64}}) {
    const bool backward = std::string_view(c.kernel) == "conv2d_input_gradient";
    const auto rows_of = [&](const Isa isa, int64_t rows) {
      const int64_t pad = c.taps / 2;
      format::Attributes attributes;
      attributes["strides"] = std::vector<int64_t>{c.stride, c.stride};
      attributes["pads"] = std::vector<int64_t>(4, pad);
      attributes["groups"] = c.groups;
      if (backward) attributes["size"] = std::vector<int64_t>{rows, kCols};
      const Shape large = {1, rows, kCols, c.in};
      const Shape small = {1, rows / c.stride, kCols / c.stride, c.out};
      const Shape weights = {c.out, c.taps, c.taps, c.in / c.groups};
      return run(c.kernel, attributes,
                 backward ? std::vector<Shape>{small, weights, large} : std::vector<Shape>{large, weights, small}, isa,
                 2);
    };
    for (const Isa isa : available_isas()) {
      const std::vector<float> few = rows_of(isa, kFew);
      std::vector<float> all = rows_of(isa, kRows);
      ASSERT_GT(all.size(), few.size());
      const size_t compared = few.size() / static_cast<size_t>(kFew) * static_cast<size_t>(kFew - 2);  // not its last
      all.resize(compared);
      EXPECT_EQ(all, std::vector<float>(few.begin(), few.begin() + static_cast<std::ptrdiff_t>(compared)))
          << c.kernel << " " << c.in << " " << isa_name(isa);
    }
  }
}

}  // namespace
}  // namespace hai::cpu

// batch_norm_train and its gradient on tensors that are larger than a cache: stores past the caches give the bits of
// ordinary ones, on every instruction set, and so do any number of threads.
#include <gtest/gtest.h>

#include <random>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/isa.h"

namespace hai::cpu {
namespace {

constexpr int64_t kChannels = 24;
constexpr int64_t kRows = (int64_t{17} << 20) / (kChannels * 4) + 1;  // more than 16 MiB, and an odd row at the end

struct Kernel {
  const char* name;
  size_t inputs;  // of them `large` are [rows, channels]
  size_t large;
  size_t outputs;  // the first is large
};

std::vector<float> numbers(int64_t count, float low, float high) {
  std::vector<float> out(static_cast<size_t>(count));
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(low, high);
  for (float& value : out) value = uniform(random);
  return out;
}

// The bytes of all outputs, the first stored `shift` elements after a cache line.
std::vector<float> run(const Kernel& kernel, Isa isa, int threads, int64_t shift) {
  format::Instruction instruction;
  instruction.kernel = kernel.name;
  instruction.name = kernel.name;
  instruction.attributes["activation"] = std::string("relu6");
  format::ProgramTensor large;
  large.dtype = DataType::kF32;
  large.shape = {Dim(kRows), Dim(kChannels)};
  format::ProgramTensor vector = large;
  vector.shape = {Dim(kChannels)};
  const auto tensor_of = [&](bool is_large) { return is_large ? &large : &vector; };
  std::vector<const format::ProgramTensor*> inputs, outputs;
  std::vector<TensorView> views;
  std::vector<MutableTensorView> results;
  const std::vector<float> big = numbers(kRows * kChannels, -1.0F, 3.0F);
  const std::vector<float> small = numbers(kChannels, 0.5F, 1.5F);
  for (size_t i = 0; i < kernel.inputs; ++i) {
    const bool is_large = i < kernel.large;
    inputs.push_back(tensor_of(is_large));
    const auto* data = reinterpret_cast<const std::byte*>(is_large ? big.data() : small.data());
    views.push_back({DataType::kF32, resolve(inputs.back()->shape, {}), data, nullptr});
  }
  std::vector<AlignedBuffer> buffers;
  for (size_t i = 0; i < kernel.outputs; ++i) {
    outputs.push_back(tensor_of(i == 0));
    const Dims dims = resolve(outputs.back()->shape, {});
    buffers.push_back(*AlignedBuffer::zeros((dims.count() + shift) * 4));
    results.push_back({DataType::kF32, dims, buffers.back().data() + shift * 4, nullptr});
  }
  const std::vector<TensorView> constants(kernel.inputs);
  auto made = ExecRegistry::instance().find(kernel.name)({instruction, inputs, outputs, constants, {}, isa});
  EXPECT_TRUE(made) << (made ? "" : made.error().to_string());
  if (!made) return {};
  ThreadPool pool(threads);
  auto scratch = *AlignedBuffer::zeros((*made)->scratch_bytes(1, threads));
  (*made)->run({views, results, scratch.data(), pool, 1});
  std::vector<float> out;
  for (const MutableTensorView& result : results) {
    const auto* values = reinterpret_cast<const float*>(result.data);
    out.insert(out.end(), values, values + result.count());
  }
  return out;
}

TEST(BatchNormTrain, LargeTensorsAreStoredPastTheCachesWithTheSameBits) {
  for (const Kernel& kernel : {Kernel{"batch_norm_train", 5, 1, 5}, Kernel{"batch_norm_train_gradient", 6, 2, 3}}) {
    for (const Isa isa : available_isas()) {
      const std::vector<float> streamed = run(kernel, isa, 2, 0);
      ASSERT_FALSE(streamed.empty());
      EXPECT_EQ(streamed, run(kernel, isa, 2, 1)) << kernel.name << " " << isa_name(isa) << ": ordinary stores";
      EXPECT_EQ(streamed, run(kernel, isa, 1, 0)) << kernel.name << " " << isa_name(isa) << ": one thread";
    }
  }
}

}  // namespace
}  // namespace hai::cpu

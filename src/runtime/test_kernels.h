// Kernels that only tests register, for the models of format/test_model.h, and buffers to run them with.
#pragma once

#include <numeric>
#include <vector>

#include "devices/cpu/exec/exec_registry.h"
#include "format/test_model.h"
#include "hai/hai.h"
#include "runtime/session.h"

namespace hai::runtime::testing {

using format::testing::kTestWidth;

// t[n, i] = x[n, i] * w[i]; packs a copy of w.
class TestScale final : public cpu::CpuKernel {
 public:
  static Result<std::unique_ptr<cpu::CpuKernel>> make(const cpu::KernelContext& context) {
    if (context.constants.size() != 2 || context.constants[1].data == nullptr) return context.refuse("needs weights");
    if (context.constants[1].dtype != DataType::kF32 || context.inputs[0]->shape != context.outputs[0]->shape ||
        context.inputs[0]->dtype != DataType::kF32 || context.outputs[0]->dtype != DataType::kF32) {
      return context.refuse("takes f32 tensors of one shape");
    }
    auto kernel = std::make_unique<TestScale>();
    const auto* weights = data_of<float>(context.constants[1]);
    kernel->weights_.assign(weights, weights + context.constants[1].count());
    if (kernel->weights_.empty()) return context.refuse("needs weights");
    return std::unique_ptr<cpu::CpuKernel>(std::move(kernel));
  }
  int64_t scratch_bytes(int64_t batch, int thread_count) const override { return 64 * batch * thread_count; }
  int64_t packed_bytes() const override { return static_cast<int64_t>(weights_.size() * sizeof(float)); }
  void run(const cpu::RunContext& context) const override {
    const int64_t count = context.inputs[0].count();
    const auto* x = data_of<float>(context.inputs[0]);
    auto* t = data_of<float>(context.outputs[0]);
    context.threads.parallel(context.batch, [&](int64_t n, int thread) {
      context.scratch[64 * thread] = std::byte{1};  // to be seen by sanitizers
      const int64_t per_sample = count / context.batch;
      for (int64_t i = n * per_sample; i < (n + 1) * per_sample; ++i) {
        t[i] = x[i] * weights_[static_cast<size_t>(i) % weights_.size()];
      }
    });
  }

 private:
  std::vector<float> weights_;
};

// y = a + b, of one shape; b may be a constant that is read at each run.
class TestAdd final : public cpu::CpuKernel {
 public:
  static Result<std::unique_ptr<cpu::CpuKernel>> make(const cpu::KernelContext& context) {
    if (context.inputs.size() != 2 || context.inputs[0] == nullptr || context.inputs[1] == nullptr ||
        context.inputs[0]->shape != context.inputs[1]->shape || context.inputs[0]->shape != context.outputs[0]->shape ||
        context.inputs[0]->dtype != DataType::kF32 || context.inputs[1]->dtype != DataType::kF32 ||
        context.outputs[0]->dtype != DataType::kF32) {
      return context.refuse("takes two f32 tensors of one shape");
    }
    return std::unique_ptr<cpu::CpuKernel>(std::make_unique<TestAdd>());
  }
  bool needs_constant(size_t) const override { return true; }
  void run(const cpu::RunContext& context) const override {
    const auto* a = data_of<float>(context.inputs[0]);
    const auto* b = data_of<float>(context.inputs[1]);
    auto* y = data_of<float>(context.outputs[0]);
    for (int64_t i = 0; i < context.outputs[0].count(); ++i) y[i] = a[i] + b[i];
  }
};

inline const cpu::ExecRegistry& test_registry() {
  static const cpu::ExecRegistry registry = [] {
    cpu::ExecRegistry kernels;
    kernels.add("test_scale", TestScale::make);
    kernels.add("test_add", TestAdd::make);
    return kernels;
  }();
  return registry;
}

// The same model over kernels that every build has.
inline format::ModelFile make_plain_model() {
  format::ModelFile model = format::testing::make_test_model();
  const auto rename = [](format::Program& program) {
    program.instructions[0].kernel = "mul";
    program.instructions[0].attributes.clear();
    program.instructions[1].kernel = "add";
  };
  rename(*model.graph);
  rename(model.programs[0]);
  return model;
}

inline hai_tensor tensor_of(std::vector<float>& values, std::vector<int64_t> dims) {
  hai_tensor tensor{};
  tensor.dtype = HAI_F32;
  tensor.rank = static_cast<int32_t>(dims.size());
  std::copy(dims.begin(), dims.end(), tensor.dims);
  tensor.data = values.data();
  tensor.size_bytes = values.size() * sizeof(float);
  return tensor;
}

// Input and output of the test model at a batch.
struct TestBuffers {
  explicit TestBuffers(int64_t batch, float first = 1.0F) : x(static_cast<size_t>(batch * kTestWidth)), y(x.size()) {
    std::iota(x.begin(), x.end(), first);
    input = tensor_of(x, {batch, kTestWidth});
    output = tensor_of(y, {batch, kTestWidth});
  }
  // y = x * w + x, exact in f32 for these numbers.
  std::vector<float> expected() const {
    const std::vector<float> w = format::testing::test_weights();
    std::vector<float> result(x.size());
    for (size_t i = 0; i < x.size(); ++i) result[i] = x[i] * w[i % w.size()] + x[i];
    return result;
  }
  std::vector<float> x;
  std::vector<float> y;
  hai_tensor input{};
  hai_tensor output{};
};

inline Status run(Session& session, TestBuffers& buffers) {
  return session.run(std::span(&buffers.input, 1), std::span(&buffers.output, 1));
}

}  // namespace hai::runtime::testing

// batch_norm on the CPU: two numbers a channel, made in f64 when the kernel is made, then one multiply-add an element.
//
// It is rare at run time: fold_batch_norm has put most of them into convolutions.
#include <cmath>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_scale_shift_f32, void, (const float*, const float*, const float*, float*, int64_t, int64_t));

class BatchNorm final : public CpuKernel {
 public:
  BatchNorm(std::vector<float> factor, std::vector<float> offset, Isa isa)
      : factor_(std::move(factor)), offset_(std::move(offset)), kernel_(hai_scale_shift_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    const auto channels = static_cast<int64_t>(factor_.size());
    if (channels == 0) return;
    for_chunks(context.threads, context.outputs[0].count() / channels, std::max<int64_t>(1, kElementChunk / channels),
               [&](int64_t begin, int64_t end) {
                 kernel_(x + begin * channels, factor_.data(), offset_.data(), y + begin * channels, end - begin,
                         channels);
               });
  }
  int64_t packed_bytes() const override { return static_cast<int64_t>(factor_.size() * 2 * sizeof(float)); }

 private:
  std::vector<float> factor_;
  std::vector<float> offset_;
  hai_scale_shift_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 5, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, *context.outputs[0]));
  HAI_TRY_STATUS(require_dtype(context, x, {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  if (x.shape.empty() || x.shape.back().is_symbolic()) return context.refuse("needs a fixed number of channels");
  HAI_TRY(const double epsilon, context.float_attribute("epsilon", 1e-5));
  const int64_t channels = x.shape.back().value;
  for (size_t i = 1; i < 5; ++i) {
    const TensorView& constant = context.constants[i];
    if (constant.data == nullptr || constant.dtype != DataType::kF32 || constant.count() != channels) {
      return context.refuse("its parameters must be f32 constants, one number a channel");
    }
  }
  std::vector<float> factor(static_cast<size_t>(channels));
  std::vector<float> offset(static_cast<size_t>(channels));
  for (size_t c = 0; c < factor.size(); ++c) {
    const auto parameter = [&](size_t i) { return static_cast<double>(data_of<float>(context.constants[i])[c]); };
    const double gain = parameter(1) / std::sqrt(parameter(4) + epsilon);
    factor[c] = static_cast<float>(gain);
    offset[c] = static_cast<float>(parameter(2) - parameter(3) * gain);
  }
  return std::unique_ptr<CpuKernel>(std::make_unique<BatchNorm>(std::move(factor), std::move(offset), context.isa));
}

}  // namespace

void register_batch_norm_exec(ExecRegistry& registry);
void register_batch_norm_exec(ExecRegistry& registry) { registry.add("batch_norm", make); }

}  // namespace hai::cpu

// batch_norm_variable: batch_norm whose parameters are tensors of the run, as where its scale and bias are trained and
// its statistics are frozen.
//
// Factor and offset of each channel are made in f64 in every run, into scratch; the sweep is batch_norm's own.
#include <cmath>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_scale_shift_f32, void, (const float*, const float*, const float*, float*, int64_t, int64_t));

class VariableBatchNorm final : public CpuKernel {
 public:
  VariableBatchNorm(int64_t channels, double epsilon, Isa isa)
      : channels_(channels), epsilon_(epsilon), kernel_(hai_scale_shift_f32_for(isa)) {}
  int64_t scratch_bytes(int64_t, int) const override { return channels_ * 2 * static_cast<int64_t>(sizeof(float)); }
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    if (channels_ == 0) return;
    auto* factor = reinterpret_cast<float*>(context.scratch);
    float* offset = factor + channels_;
    for (int64_t c = 0; c < channels_; ++c) {
      const auto parameter = [&](size_t i) { return static_cast<double>(data_of<float>(context.inputs[i])[c]); };
      const double gain = parameter(1) / std::sqrt(parameter(4) + epsilon_);
      factor[c] = static_cast<float>(gain);
      offset[c] = static_cast<float>(parameter(2) - parameter(3) * gain);
    }
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count() / channels_, std::max<int64_t>(1, kElementChunk / channels_),
               [&](int64_t begin, int64_t end) {
                 kernel_(x + begin * channels_, factor, offset, y + begin * channels_, end - begin, channels_);
               });
  }

 private:
  int64_t channels_;
  double epsilon_;
  hai_scale_shift_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 5, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, *context.outputs[0]));
  if (x.shape.empty() || x.shape.back().is_symbolic()) return context.refuse("needs a fixed number of channels");
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  for (size_t i = 0; i < 5; ++i) {
    HAI_TRY_STATUS(require_dtype(context, *context.inputs[i], {DataType::kF32}));
    if (i > 0 && context.inputs[i]->shape != Shape{x.shape.back()})
      return context.refuse("its parameters must have one number a channel");
  }
  HAI_TRY(const double epsilon, context.float_attribute("epsilon", 1e-5));
  return std::unique_ptr<CpuKernel>(std::make_unique<VariableBatchNorm>(x.shape.back().value, epsilon, context.isa));
}

}  // namespace

void register_batch_norm_train_exec(ExecRegistry& registry);
void register_batch_norm_train_exec(ExecRegistry& registry) { registry.add("batch_norm_variable", make); }

}  // namespace hai::cpu

// guarded_update on the CPU, f32: a copy of one operand or the other.
// In place over the old value, where a refused step is no work at all; small tensors, so one thread copies.
// Whether a step is refused is types/optimizer_step.h's rule, as for the optimizers.
#include <cstring>

#include "devices/cpu/exec/kernel_checks.h"
#include "types/optimizer_step.h"

namespace hai::cpu {
namespace {

class GuardedUpdate final : public CpuKernel {
 public:
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const bool sound = hai_step_is_sound(static_cast<double>(*data_of<float>(context.inputs[2]))) != 0;
    const std::byte* from = context.inputs[sound ? 1 : 0].data;
    const auto bytes = static_cast<size_t>(context.outputs[0].count()) * sizeof(float);
    if (bytes > 0 && from != context.outputs[0].data) std::memcpy(context.outputs[0].data, from, bytes);
  }
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 3, 1));
  for (const format::ProgramTensor* tensor :
       {context.inputs[0], context.inputs[1], context.inputs[2], context.outputs[0]})
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kF32}));
  HAI_TRY_STATUS(require_same_shape(context, *context.inputs[0], *context.inputs[1]));
  HAI_TRY_STATUS(require_same_shape(context, *context.inputs[0], *context.outputs[0]));
  if (!context.inputs[2]->shape.empty()) return context.refuse("its guard must be a scalar");
  return std::unique_ptr<CpuKernel>(std::make_unique<GuardedUpdate>());
}

}  // namespace

void register_guarded_update_train_exec(ExecRegistry& registry);
void register_guarded_update_train_exec(ExecRegistry& registry) { registry.add("guarded_update", make); }

}  // namespace hai::cpu

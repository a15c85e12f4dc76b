// accumulation_phase on the CPU: three numbers from one, by types/optimizer_step.h.
// Operands come from a file and are checked when the kernel is made.
// Scalars, so no threads and no kernel for an instruction set.
#include "devices/cpu/exec/kernel_checks.h"
#include "types/optimizer_step.h"

namespace hai::cpu {
namespace {

class AccumulationPhase final : public CpuKernel {
 public:
  explicit AccumulationPhase(int64_t every) : every_(every) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const hai_accumulation at = hai_accumulation_at(*data_of<int64_t>(context.inputs[0]), every_);
    *data_of<float>(context.outputs[0]) = static_cast<float>(at.keep);
    *data_of<float>(context.outputs[1]) = static_cast<float>(at.gate);
    *data_of<int64_t>(context.outputs[2]) = at.update;
  }

 private:
  int64_t every_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 3));
  HAI_TRY_STATUS(require_dtype(context, *context.inputs[0], {DataType::kI64}));
  HAI_TRY_STATUS(require_dtype(context, *context.inputs[1], {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[1], {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[2], {DataType::kI64}));
  for (const format::ProgramTensor* tensor :
       {context.inputs[0], context.inputs[1], context.outputs[0], context.outputs[1], context.outputs[2]}) {
    if (!tensor->shape.empty()) return context.refuse("its operands and results must be scalars");
  }
  HAI_TRY(const int64_t every, context.int_attribute("every", 1, 1, HAI_MOST_ACCUMULATED));
  return std::unique_ptr<CpuKernel>(std::make_unique<AccumulationPhase>(every));
}

}  // namespace

void register_accumulation_phase_train_exec(ExecRegistry& registry);
void register_accumulation_phase_train_exec(ExecRegistry& registry) { registry.add("accumulation_phase", make); }

}  // namespace hai::cpu

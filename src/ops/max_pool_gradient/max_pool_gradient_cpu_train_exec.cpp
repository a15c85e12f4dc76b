// max_pool_gradient on the CPU, f32: every window's gradient goes to the first of its largest elements.
//
// Tasks are images and stretches of channels (devices/cpu/train/pool_gradient.h).
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/pool_window.h"
#include "devices/cpu/train/pool_gradient.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_max_pool_gradient_f32, void,
                  (const float*, float*, const float*, int64_t, int64_t, int64_t, int64_t, int64_t));

class MaxPoolGradient final : public CpuKernel {
 public:
  MaxPoolGradient(const PoolWindow& window, Isa isa) : window_(window), kernel_(hai_max_pool_gradient_f32_for(isa)) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    const auto* dy = data_of<float>(context.inputs[1]);
    auto* dx = data_of<float>(context.outputs[0]);
    for_each_window(context.threads, window_, context.inputs[0].dims, context.inputs[1].dims, dx,
                    [&](const WindowTaps& taps) {
                      kernel_(x + taps.first, dx + taps.first, dy + taps.out, taps.row_stride, taps.column_stride,
                              taps.rows, taps.columns, taps.channels);
                    });
  }

 private:
  PoolWindow window_;
  hai_max_pool_gradient_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 1));
  for (const format::ProgramTensor* tensor : {context.inputs[0], context.inputs[1], context.outputs[0]})
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kF32}));
  HAI_TRY(const PoolWindow window, pool_window(context, true));
  HAI_TRY_STATUS(require_same_shape(context, *context.inputs[0], *context.outputs[0]));
  const Rule<Shape> wanted = shape_rules::pool(context.inputs[0]->shape, window);
  if (!wanted || *wanted != context.inputs[1]->shape) return context.refuse("dy has another shape than the pool's y");
  return std::unique_ptr<CpuKernel>(std::make_unique<MaxPoolGradient>(window, context.isa));
}

}  // namespace

void register_max_pool_gradient_train_exec(ExecRegistry& registry);
void register_max_pool_gradient_train_exec(ExecRegistry& registry) { registry.add("max_pool_gradient", make); }

}  // namespace hai::cpu

// average_pool_gradient on the CPU, f32: every window gives its gradient, over its divisor, to the pixels it saw.
//
// Tasks are images and stretches of channels (devices/cpu/train/pool_gradient.h).
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/operand_checks.h"
#include "devices/cpu/exec/pool_window.h"
#include "devices/cpu/train/pool_gradient.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_average_pool_gradient_f32, void,
                  (float*, const float*, int64_t, int64_t, int64_t, int64_t, int64_t, float));

class AveragePoolGradient final : public CpuKernel {
 public:
  AveragePoolGradient(const PoolWindow& window, Isa isa)
      : window_(window), kernel_(hai_average_pool_gradient_f32_for(isa)) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const auto* dy = data_of<float>(context.inputs[0]);
    auto* dx = data_of<float>(context.outputs[0]);
    for_each_window(context.threads, window_, context.outputs[0].dims, context.inputs[0].dims, dx,
                    [&](const WindowTaps& taps) {
                      kernel_(dx + taps.first, dy + taps.out, taps.row_stride, taps.column_stride, taps.rows,
                              taps.columns, taps.channels, static_cast<float>(taps.divisor));
                    });
  }

 private:
  PoolWindow window_;
  hai_average_pool_gradient_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  HAI_TRY_STATUS(require_dtype(context, *context.inputs[0], {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  HAI_TRY(const PoolWindow window, pool_window(context, false));
  const Rule<Shape> wanted = shape_rules::pool(context.outputs[0]->shape, window);
  if (!wanted || *wanted != context.inputs[0]->shape) return context.refuse("dy has another shape than the pool's y");
  return std::unique_ptr<CpuKernel>(std::make_unique<AveragePoolGradient>(window, context.isa));
}

}  // namespace

void register_average_pool_gradient_train_exec(ExecRegistry& registry);
void register_average_pool_gradient_train_exec(ExecRegistry& registry) { registry.add("average_pool_gradient", make); }

}  // namespace hai::cpu

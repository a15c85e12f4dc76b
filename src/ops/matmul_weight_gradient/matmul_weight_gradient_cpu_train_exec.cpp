// matmul_weight_gradient on the CPU, f32: tasks are groups of four rows of dw, each summed over all rows of x and dy by
// one thread, so the bits do not depend on the number of threads. In place is impossible: operands are read until the
// end.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_weight_gradient_f32, void,
                  (const float*, int64_t, int32_t, const float*, int64_t, int64_t, int64_t, float*, int64_t));

constexpr int64_t kColumns = 4;  // of x, a call of the kernel

class WeightGradientF32 final : public CpuKernel {
 public:
  explicit WeightGradientF32(Isa isa) : kernel_(hai_weight_gradient_f32_for(isa)) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const Dims& out = context.outputs[0].dims;
    const int64_t k = out[0];
    const int64_t n = out[1];
    if (k == 0 || n == 0) return;
    const int64_t rows = context.inputs[0].count() / k;
    const auto* x = data_of<float>(context.inputs[0]);
    const auto* dy = data_of<float>(context.inputs[1]);
    auto* dw = data_of<float>(context.outputs[0]);
    context.threads.parallel((k + kColumns - 1) / kColumns, [&](int64_t group, int) {
      const int64_t first = group * kColumns;
      const auto columns = static_cast<int32_t>(std::min(kColumns, k - first));
      kernel_(x + first, k, columns, dy, n, n, rows, dw + first * n, n);
    });
  }

 private:
  hai_weight_gradient_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& dy = *context.inputs[1];
  const format::ProgramTensor& dw = *context.outputs[0];
  for (const format::ProgramTensor* tensor : {&x, &dy, &dw})
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kF32}));
  const bool fits = x.shape.size() >= 2 && x.shape.size() == dy.shape.size() && dw.shape.size() == 2 &&
                    std::equal(x.shape.begin(), x.shape.end() - 1, dy.shape.begin()) && dw.shape[0] == x.shape.back() &&
                    dw.shape[1] == dy.shape.back() && is_static(dw.shape);
  if (!fits) return context.refuse("its operands do not fit");
  return std::unique_ptr<CpuKernel>(std::make_unique<WeightGradientF32>(context.isa));
}

}  // namespace

void register_matmul_weight_gradient_train_exec(ExecRegistry& registry);
void register_matmul_weight_gradient_train_exec(ExecRegistry& registry) {
  registry.add("matmul_weight_gradient", make);
}

}  // namespace hai::cpu

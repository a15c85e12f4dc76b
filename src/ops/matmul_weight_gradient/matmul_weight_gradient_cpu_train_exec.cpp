// matmul_weight_gradient on the CPU, f32: WeightSums of the rows of x and dy (devices/cpu/train/weight_sums.h).
//
// Rows of dw go with columns of x: x takes the place of a convolution's dy. In place is impossible: operands are read
// until the end.
#include <algorithm>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/train/weight_sums.h"

namespace hai::cpu {
namespace {

class WeightGradientF32 final : public CpuKernel {
 public:
  WeightGradientF32(int64_t rows, int64_t columns, Isa isa)
      : empty_(rows == 0 || columns == 0),
        rows_(rows),
        sums_(WeightSums::of_matrix(std::max<int64_t>(1, rows), std::max<int64_t>(1, columns), isa)) {}
  bool needs_constant(size_t) const override { return true; }
  int64_t scratch_bytes(int64_t, int thread_count) const override { return sums_.scratch_bytes(thread_count); }
  void run(const RunContext& context) const override {
    if (empty_) return;
    sums_.run(data_of<float>(context.inputs[1]), data_of<float>(context.inputs[0]), context.inputs[0].count() / rows_,
              data_of<float>(context.outputs[0]), context.scratch, context.threads);
  }

 private:
  bool empty_;
  int64_t rows_;
  WeightSums sums_;
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
  return std::unique_ptr<CpuKernel>(
      std::make_unique<WeightGradientF32>(dw.shape[0].value, dw.shape[1].value, context.isa));
}

}  // namespace

void register_matmul_weight_gradient_train_exec(ExecRegistry& registry);
void register_matmul_weight_gradient_train_exec(ExecRegistry& registry) {
  registry.add("matmul_weight_gradient", make);
}

}  // namespace hai::cpu

// gather_gradient on the CPU, f32: rows of dy are added to rows of dx.
//
// Rows may be the same, so a task is one outer index and one stretch of the row: no two tasks write the same element,
// and rows are added in order, whatever the threads.
#include <algorithm>

#include "base/checked.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "types/shape_rules.h"

namespace hai::cpu {
namespace {

constexpr int64_t kStretch = 256;  // elements of a row

int64_t index_at(const TensorView& indices, int64_t i) {
  return indices.dtype == DataType::kI64 ? data_of<int64_t>(indices)[i] : data_of<int32_t>(indices)[i];
}

class GatherGradient final : public CpuKernel {
 public:
  explicit GatherGradient(int axis) : axis_(axis) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const TensorView& indices = context.inputs[0];
    const auto* dy = data_of<float>(context.inputs[1]);
    auto* dx = data_of<float>(context.outputs[0]);
    const Dims& x = context.outputs[0].dims;
    const int64_t count = indices.count();
    const int64_t size = x[axis_];
    int64_t outer = 1;
    int64_t inner = 1;
    for (int i = 0; i < axis_; ++i) outer *= x[i];
    for (int i = axis_ + 1; i < x.rank; ++i) inner *= x[i];
    const int64_t stretches = ceil_div(inner, kStretch);
    context.threads.parallel(outer * stretches, [&](int64_t task, int) {
      const int64_t begin = task % stretches * kStretch;
      const int64_t length = std::min(inner, begin + kStretch) - begin;
      float* to = dx + task / stretches * size * inner + begin;
      const float* from = dy + task / stretches * count * inner + begin;
      for (int64_t row = 0; row < size; ++row) std::fill_n(to + row * inner, length, 0.0F);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t given = index_at(indices, i);
        float* row = to + std::clamp<int64_t>(given < 0 ? given + size : given, 0, size - 1) * inner;
        for (int64_t k = 0; k < length; ++k) row[k] += from[i * inner + k];
      }
    });
  }

 private:
  int axis_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 1));
  HAI_TRY_STATUS(require_dtype(context, *context.inputs[0], {DataType::kI32, DataType::kI64}));
  HAI_TRY_STATUS(require_dtype(context, *context.inputs[1], {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  HAI_TRY(const int64_t axis, context.int_attribute("axis", 0, 0, int64_t{kMaxRank} - 1));
  const Shape& x = context.outputs[0]->shape;
  if (static_cast<size_t>(axis) >= x.size() || x[static_cast<size_t>(axis)].value < 1) {
    return context.refuse("its axis must be one of x, and not empty");
  }
  const Rule<Shape> dy = shape_rules::gather(x, context.inputs[0]->shape, static_cast<int>(axis));
  if (!dy || *dy != context.inputs[1]->shape) return context.refuse("dy has another shape than gather's y");
  return std::unique_ptr<CpuKernel>(std::make_unique<GatherGradient>(static_cast<int>(axis)));
}

}  // namespace

void register_gather_gradient_train_exec(ExecRegistry& registry);
void register_gather_gradient_train_exec(ExecRegistry& registry) { registry.add("gather_gradient", make); }

}  // namespace hai::cpu

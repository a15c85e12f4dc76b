// ciou on the CPU, f32: pair by pair in f64, rounded once, as the reference does.
//
// Most pairs of a loss are empty slots, which cost a comparison; the few others are worth the digits.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "types/box_overlap.h"

namespace hai::cpu {
namespace {

constexpr int64_t kWork = 100;  // element operations of a pair

CenterBox box_at(const float* p) { return {p[0], p[1], p[2], p[3]}; }

class Ciou final : public CpuKernel {
 public:
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const auto* a = data_of<float>(context.inputs[0]);
    const auto* b = data_of<float>(context.inputs[1]);
    const auto* alpha = data_of<float>(context.inputs[2]);
    auto* y = data_of<float>(context.outputs[0]);
    parallel_range(context.threads, context.outputs[0].count(), kWork, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const CenterBox first = box_at(a + 4 * i);
        const CenterBox second = box_at(b + 4 * i);
        const bool real = is_real_box(first) && is_real_box(second);
        y[i] = real ? static_cast<float>(overlap_of(first, second).ciou(alpha[i])) : 0.0F;
      }
    });
  }
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 3, 1));
  for (size_t i = 0; i < 3; ++i) HAI_TRY_STATUS(require_dtype(context, *context.inputs[i], {DataType::kF32}));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  HAI_TRY_STATUS(require_same_shape(context, *context.inputs[0], *context.inputs[1]));
  HAI_TRY_STATUS(require_same_shape(context, *context.inputs[2], *context.outputs[0]));
  Shape boxes = context.outputs[0]->shape;
  boxes.emplace_back(4);
  if (context.inputs[0]->shape != boxes)
    return context.refuse("its boxes must be [.., 4] for each number of the result");
  return std::unique_ptr<CpuKernel>(std::make_unique<Ciou>());
}

}  // namespace

void register_ciou_train_exec(ExecRegistry& registry);
void register_ciou_train_exec(ExecRegistry& registry) { registry.add("ciou", make); }

}  // namespace hai::cpu

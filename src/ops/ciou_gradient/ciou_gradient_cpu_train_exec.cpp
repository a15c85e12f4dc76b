// ciou_gradient on the CPU, f32: pair by pair in f64, rounded once, as the reference does.
//
// Most pairs of a loss are empty slots, which cost a comparison.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/parallel_range.h"
#include "types/box_overlap.h"

namespace hai::cpu {
namespace {

constexpr int64_t kWork = 150;  // element operations of a pair

CenterBox box_at(const float* p) { return {p[0], p[1], p[2], p[3]}; }

class CiouGradient final : public CpuKernel {
 public:
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const auto* a = data_of<float>(context.inputs[0]);
    const auto* b = data_of<float>(context.inputs[1]);
    const auto* alpha = data_of<float>(context.inputs[2]);
    const auto* dy = data_of<float>(context.inputs[3]);
    auto* da = data_of<float>(context.outputs[0]);
    auto* dalpha = data_of<float>(context.outputs[1]);
    parallel_range(context.threads, context.outputs[1].count(), kWork, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const CenterBox first = box_at(a + 4 * i);
        const CenterBox second = box_at(b + 4 * i);
        CenterBox gradient;
        double shape = 0;
        if (is_real_box(first) && is_real_box(second)) {
          const BoxOverlap overlap = overlap_of(first, second);
          gradient = ciou_gradient_of(first, second, overlap, alpha[i]);
          shape = overlap.shape;
        }
        const double scale = dy[i];
        da[4 * i] = static_cast<float>(scale * gradient.x);
        da[4 * i + 1] = static_cast<float>(scale * gradient.y);
        da[4 * i + 2] = static_cast<float>(scale * gradient.width);
        da[4 * i + 3] = static_cast<float>(scale * gradient.height);
        dalpha[i] = static_cast<float>(-scale * shape);
      }
    });
  }
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 4, 2));
  for (size_t i = 0; i < 4; ++i) HAI_TRY_STATUS(require_dtype(context, *context.inputs[i], {DataType::kF32}));
  for (size_t i = 0; i < 2; ++i) HAI_TRY_STATUS(require_dtype(context, *context.outputs[i], {DataType::kF32}));
  for (const size_t i : {2U, 3U}) {
    HAI_TRY_STATUS(require_same_shape(context, *context.inputs[i], *context.outputs[1]));
  }
  Shape boxes = context.outputs[1]->shape;
  boxes.emplace_back(4);
  for (const format::ProgramTensor* tensor : {context.inputs[0], context.inputs[1], context.outputs[0]}) {
    if (tensor->shape != boxes) return context.refuse("its boxes must be [.., 4] for each number of dy");
  }
  return std::unique_ptr<CpuKernel>(std::make_unique<CiouGradient>());
}

}  // namespace

void register_ciou_gradient_train_exec(ExecRegistry& registry);
void register_ciou_gradient_train_exec(ExecRegistry& registry) { registry.add("ciou_gradient", make); }

}  // namespace hai::cpu

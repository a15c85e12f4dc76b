// global_norm on the CPU, f32: a sum a chunk, in f64, added in the order of operands and chunks, so that the bits do
// not depend on threads. In place is impossible: there is one result.
// Nothing is allocated: sums of chunks wait in a few fixed places until they are added.
#include <cmath>

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_sum_of_squares_f32, double, (const float*, int64_t));

class GlobalNorm final : public CpuKernel {
 public:
  explicit GlobalNorm(Isa isa) : kernel_(hai_sum_of_squares_f32_for(isa)) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    double total = 0;
    for (const TensorView& input : context.inputs) total += sum_of(input, context.threads);
    *data_of<float>(context.outputs[0]) = static_cast<float>(std::sqrt(total));
  }

 private:
  // Sums of chunks wait in a few fixed places, so that nothing is allocated: `kWaiting` chunks at a time.
  static constexpr int64_t kWaiting = 64;
  double sum_of(const TensorView& input, ThreadPool& threads) const {
    const auto* x = data_of<float>(input);
    const int64_t count = input.count();
    double total = 0;
    for (int64_t first = 0; first < count; first += kWaiting * kElementChunk) {
      double sums[kWaiting] = {};
      const int64_t left = count - first;
      const int64_t chunks = std::min(kWaiting, (left + kElementChunk - 1) / kElementChunk);
      threads.parallel(chunks, [&](int64_t chunk, int) {
        const int64_t begin = chunk * kElementChunk;
        sums[chunk] = kernel_(x + first + begin, std::min(kElementChunk, left - begin));
      });
      for (int64_t chunk = 0; chunk < chunks; ++chunk) total += sums[chunk];
    }
    return total;
  }

  hai_sum_of_squares_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, std::max<size_t>(context.inputs.size(), 1), 1));
  for (const format::ProgramTensor* input : context.inputs) {
    HAI_TRY_STATUS(require_dtype(context, *input, {DataType::kF32}));
  }
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  if (!context.outputs[0]->shape.empty()) return context.refuse("its result must be a scalar");
  return std::unique_ptr<CpuKernel>(std::make_unique<GlobalNorm>(context.isa));
}

}  // namespace

void register_global_norm_train_exec(ExecRegistry& registry);
void register_global_norm_train_exec(ExecRegistry& registry) { registry.add("global_norm", make); }

}  // namespace hai::cpu

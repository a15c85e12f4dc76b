// unary_gradient on the CPU: vector loops in f32, cut into chunks for the threads.
// The function's number and its parameters are fixed when the kernel is made.
// In place is fine: every element depends on its own operands alone.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/unary_functions.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_unary_gradient_f32, void, (int32_t, const float*, const float*, float*, int64_t, float, float));

class UnaryGradientF32 final : public CpuKernel {
 public:
  UnaryGradientF32(int32_t function, double alpha, double beta, Isa isa)
      : function_(function),
        alpha_(static_cast<float>(alpha)),
        beta_(static_cast<float>(beta)),
        kernel_(hai_unary_gradient_f32_for(isa)) {}
  bool needs_constant(size_t) const override { return true; }
  void run(const RunContext& context) const override {
    const auto* v = data_of<float>(context.inputs[0]);
    const auto* dy = data_of<float>(context.inputs[1]);
    auto* dx = data_of<float>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      kernel_(function_, v + begin, dy + begin, dx + begin, end - begin, alpha_, beta_);
    });
  }

 private:
  int32_t function_;
  float alpha_;
  float beta_;
  hai_unary_gradient_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 2, 1));
  const format::ProgramTensor& v = *context.inputs[0];
  HAI_TRY_STATUS(require_same_shape(context, v, *context.inputs[1]));
  HAI_TRY_STATUS(require_same_shape(context, v, *context.outputs[0]));
  for (const format::ProgramTensor* tensor : {context.inputs[0], context.inputs[1], context.outputs[0]})
    HAI_TRY_STATUS(require_dtype(context, *tensor, {DataType::kF32}));
  HAI_TRY(const std::string name, context.string_attribute("function", ""));
  const auto function = find_unary_function(name);
  if (!function || !unary_gradient(*function)) return context.refuse("no derivative of such a function");
  const UnaryFunction& row = unary_functions()[static_cast<size_t>(*function)];
  HAI_TRY(const double alpha, context.float_attribute("alpha", row.alpha));
  HAI_TRY(const double beta, context.float_attribute("beta", row.beta));
  return std::unique_ptr<CpuKernel>(std::make_unique<UnaryGradientF32>(*function, alpha, beta, context.isa));
}

}  // namespace

void register_unary_gradient_train_exec(ExecRegistry& registry);
void register_unary_gradient_train_exec(ExecRegistry& registry) { registry.add("unary_gradient", make); }

}  // namespace hai::cpu

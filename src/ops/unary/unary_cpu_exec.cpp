// Unary functions on the CPU: vector loops in f32; a table of all stored integers for quantized tensors.
//
// Tables are made from f64 with basic operations only (types/unary_functions.h), so they equal the reference bit for
// bit. In place is fine: every element depends on itself alone.
#include "devices/cpu/exec/half_elementwise.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "devices/cpu/exec/table_kernel.h"
#include "types/unary_functions.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_unary_f32, void, (int32_t, const float*, float*, int64_t, float, float));

class UnaryF32 final : public CpuKernel {
 public:
  UnaryF32(int32_t function, double alpha, double beta, Isa isa)
      : function_(function),
        alpha_(static_cast<float>(alpha)),
        beta_(static_cast<float>(beta)),
        kernel_(hai_unary_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      kernel_(function_, x + begin, y + begin, end - begin, alpha_, beta_);
    });
  }

 private:
  int32_t function_;
  float alpha_;
  float beta_;
  hai_unary_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, y));
  const auto function = find_unary_function(context.instruction.kernel);
  if (!function) return context.refuse("no such unary function");
  const UnaryFunction& row = unary_functions()[static_cast<size_t>(*function)];
  HAI_TRY(const double alpha, context.float_attribute("alpha", row.alpha));
  HAI_TRY(const double beta, context.float_attribute("beta", row.beta));
  if (x.dtype == DataType::kF32) {
    HAI_TRY_STATUS(require_dtype(context, y, {DataType::kF32}));
    return std::unique_ptr<CpuKernel>(std::make_unique<UnaryF32>(*function, alpha, beta, context.isa));
  }
  if (x.dtype == DataType::kF16) {
    HAI_TRY_STATUS(require_dtype(context, y, {DataType::kF16}));
    Activation activation;
    activation.function = *function;
    activation.alpha = alpha;
    activation.beta = beta;
    return make_half_function(half_table(activation));
  }
  HAI_TRY(const Affine affine_x, affine_of(context, x));
  HAI_TRY(const Affine affine_y, affine_of(context, y));
  HAI_TRY(const hai_output_range range, output_range_of(context, y));
  return make_table_kernel(context, [&](int32_t q) {
    return unary_integer(*function, alpha, beta, q, affine_x.scale, affine_x.zero_point, affine_y.scale, range);
  });
}

}  // namespace

void register_unary_exec(ExecRegistry& registry);
void register_unary_exec(ExecRegistry& registry) {
  for (const UnaryFunction& function : unary_functions()) registry.add(std::string(function.name), make);
}

}  // namespace hai::cpu

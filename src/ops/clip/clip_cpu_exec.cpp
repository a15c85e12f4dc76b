// clip on the CPU: a vector loop in f32, a table of all stored integers for quantized tensors.
//
// The bounds of f32 are the attributes rounded once to f32. In place is fine.
#include <limits>

#include "devices/cpu/exec/half_elementwise.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "devices/cpu/exec/table_kernel.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_clip_f32, void, (const float*, float*, int64_t, float, float));

class ClipF32 final : public CpuKernel {
 public:
  ClipF32(float low, float high, Isa isa) : low_(low), high_(high), kernel_(hai_clip_f32_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk,
               [&](int64_t begin, int64_t end) { kernel_(x + begin, y + begin, end - begin, low_, high_); });
  }

 private:
  float low_;
  float high_;
  hai_clip_f32_function kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, y));
  HAI_TRY(const double low, context.float_attribute("min", -std::numeric_limits<double>::infinity()));
  HAI_TRY(const double high, context.float_attribute("max", std::numeric_limits<double>::infinity()));
  if (low > high) return context.refuse("min is greater than max");
  if (x.dtype == DataType::kF32) {
    HAI_TRY_STATUS(require_dtype(context, y, {DataType::kF32}));
    return std::unique_ptr<CpuKernel>(
        std::make_unique<ClipF32>(static_cast<float>(low), static_cast<float>(high), context.isa));
  }
  if (x.dtype == DataType::kF16) {
    HAI_TRY_STATUS(require_dtype(context, y, {DataType::kF16}));
    Activation clamp;
    clamp.lo = low;
    clamp.hi = high;
    return make_half_function(half_table(clamp));
  }
  HAI_TRY(const Affine from, affine_of(context, x));
  HAI_TRY(const Affine to, affine_of(context, y));
  HAI_TRY(const hai_output_range range, output_range_of(context, y));
  return make_table_kernel(context, [&](int32_t q) {
    const double real = static_cast<double>(from.scale) * static_cast<double>(q - from.zero_point);
    return hai_store_f64(hai_clamp_f64(real, low, high) / static_cast<double>(to.scale), range);
  });
}

}  // namespace

void register_clip_exec(ExecRegistry& registry);
void register_clip_exec(ExecRegistry& registry) { registry.add("clip", make); }

}  // namespace hai::cpu

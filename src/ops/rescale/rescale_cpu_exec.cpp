// rescale on the CPU: a table of all stored integers, made with hai_rescale.
//
// In place is fine where the widths agree: each element depends on itself alone.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/table_kernel.h"

namespace hai::cpu {
namespace {

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  const format::ProgramTensor& y = *context.outputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, y));
  HAI_TRY(const Affine from, affine_of(context, x));
  HAI_TRY(const Affine to, affine_of(context, y));
  HAI_TRY(const hai_output_range range, output_range_of(context, y));
  const float multiplier = hai_multiplier_ratio(from.scale, to.scale);
  HAI_TRY_STATUS(require_usable(context, multiplier));
  const bool wide = bit_width(x.dtype) > 8 || bit_width(y.dtype) > 8;
  return make_table_kernel(context, [&](int32_t q) {
    return wide ? hai_rescale_wide(q, from.zero_point, multiplier, range)
                : hai_rescale(q, from.zero_point, multiplier, range);
  });
}

}  // namespace

void register_rescale_exec(ExecRegistry& registry);
void register_rescale_exec(ExecRegistry& registry) { registry.add("rescale", make); }

}  // namespace hai::cpu

// rescale on the CPU: 8-bit operands through a table of all stored integers, made with hai_rescale; 16-bit ones, of
// which a table would leave the first cache, one by one.
//
// In place is fine where the widths agree: each element depends on itself alone.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "devices/cpu/exec/rescale_kernels.h"
#include "devices/cpu/exec/table_kernel.h"

namespace hai::cpu {
namespace {

class WideRescale final : public CpuKernel {
 public:
  WideRescale(Isa isa, bool wide_result, int32_t zero_x, float multiplier, hai_output_range range)
      : isa_(isa), wide_result_(wide_result), zero_x_(zero_x), multiplier_(multiplier), range_(range) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<int16_t>(context.inputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      if (wide_result_) {
        auto* y = data_of<int16_t>(context.outputs[0]);
        rescale_s16_for(isa_)(x + begin, y + begin, end - begin, zero_x_, multiplier_, range_);
      } else {
        auto* y = data_of<uint8_t>(context.outputs[0]);
        rescale_s16_bytes_for(isa_)(x + begin, y + begin, end - begin, zero_x_, multiplier_, range_);
      }
    });
  }

 private:
  Isa isa_;
  bool wide_result_;
  int32_t zero_x_;
  float multiplier_;
  hai_output_range range_;
};

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
  if (x.dtype == DataType::kI16) {
    return std::unique_ptr<CpuKernel>(
        new WideRescale(context.isa, y.dtype == DataType::kI16, from.zero_point, multiplier, range));
  }
  const bool wide = bit_width(y.dtype) > 8;
  return make_table_kernel(context, [&](int32_t q) {
    return wide ? hai_rescale_wide(q, from.zero_point, multiplier, range)
                : hai_rescale(q, from.zero_point, multiplier, range);
  });
}

}  // namespace

void register_rescale_exec(ExecRegistry& registry);
void register_rescale_exec(ExecRegistry& registry) { registry.add("rescale", make); }

}  // namespace hai::cpu

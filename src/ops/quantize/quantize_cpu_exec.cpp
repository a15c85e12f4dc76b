// quantize on the CPU: f32 or f16 to i8, u8 or i16 with one scale.
//
// The kernels call the reference's own arithmetic, so the integers are equal on every instruction set.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/float_format.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_quantize_8, void, (const float*, uint8_t*, int64_t, float, int32_t, int32_t, int32_t));
HAI_KERNEL_FAMILY(hai_quantize_16, void, (const float*, int16_t*, int64_t, float, int32_t, int32_t, int32_t));

class Quantize final : public CpuKernel {
 public:
  Quantize(float scale, hai_output_range range, bool wide, Isa isa)
      : scale_(scale),
        range_(range),
        wide_(wide),
        narrow_kernel_(hai_quantize_8_for(isa)),
        wide_kernel_(hai_quantize_16_for(isa)) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<float>(context.inputs[0]);
    auto* y8 = data_of<uint8_t>(context.outputs[0]);
    auto* y16 = data_of<int16_t>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      if (wide_) {
        wide_kernel_(x + begin, y16 + begin, end - begin, scale_, range_.zero_point, range_.lo, range_.hi);
      } else {
        narrow_kernel_(x + begin, y8 + begin, end - begin, scale_, range_.zero_point, range_.lo, range_.hi);
      }
    });
  }

 private:
  float scale_;
  hai_output_range range_;
  bool wide_;
  hai_quantize_8_function narrow_kernel_;
  hai_quantize_16_function wide_kernel_;
};

class QuantizeHalves final : public CpuKernel {
 public:
  QuantizeHalves(float scale, hai_output_range range, bool wide) : scale_(scale), range_(range), wide_(wide) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<uint16_t>(context.inputs[0]);
    auto* y8 = data_of<uint8_t>(context.outputs[0]);
    auto* y16 = data_of<int16_t>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int32_t q = hai_quantize(hai_f16_to_f32(x[i]), scale_, range_);
        if (wide_) {
          y16[i] = static_cast<int16_t>(q);
        } else {
          y8[i] = static_cast<uint8_t>(q);
        }
      }
    });
  }

 private:
  float scale_;
  hai_output_range range_;
  bool wide_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  HAI_TRY_STATUS(require_same_shape(context, *context.inputs[0], *context.outputs[0]));
  HAI_TRY_STATUS(require_dtype(context, *context.inputs[0], {DataType::kF32, DataType::kF16}));
  HAI_TRY(const Affine to, affine_of(context, *context.outputs[0]));
  HAI_TRY(const hai_output_range range, output_range_of(context, *context.outputs[0]));
  const bool wide = bit_width(context.outputs[0]->dtype) == 16;
  if (context.inputs[0]->dtype == DataType::kF16) {
    return std::unique_ptr<CpuKernel>(std::make_unique<QuantizeHalves>(to.scale, range, wide));
  }
  return std::unique_ptr<CpuKernel>(std::make_unique<Quantize>(to.scale, range, wide, context.isa));
}

}  // namespace

void register_quantize_exec(ExecRegistry& registry);
void register_quantize_exec(ExecRegistry& registry) { registry.add("quantize", make); }

}  // namespace hai::cpu

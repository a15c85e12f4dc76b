// dequantize on the CPU: i8, u8 and i16 with one scale to f32.
//
// One exact difference and one IEEE product an element: equal on every instruction set.
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_chunks.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_dequantize_i8, void, (const int8_t*, float*, int64_t, float, int32_t));
HAI_KERNEL_FAMILY(hai_dequantize_u8, void, (const uint8_t*, float*, int64_t, float, int32_t));
HAI_KERNEL_FAMILY(hai_dequantize_i16, void, (const int16_t*, float*, int64_t, float, int32_t));

template <typename T>
class Dequantize final : public CpuKernel {
 public:
  using Kernel = void (*)(const T*, float*, int64_t, float, int32_t);
  Dequantize(Affine from, Kernel kernel) : from_(from), kernel_(kernel) {}
  void run(const RunContext& context) const override {
    const auto* x = data_of<T>(context.inputs[0]);
    auto* y = data_of<float>(context.outputs[0]);
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk, [&](int64_t begin, int64_t end) {
      kernel_(x + begin, y + begin, end - begin, from_.scale, from_.zero_point);
    });
  }

 private:
  Affine from_;
  Kernel kernel_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  const format::ProgramTensor& x = *context.inputs[0];
  HAI_TRY_STATUS(require_same_shape(context, x, *context.outputs[0]));
  HAI_TRY_STATUS(require_dtype(context, *context.outputs[0], {DataType::kF32}));
  HAI_TRY(const Affine from, affine_of(context, x));
  if (x.dtype == DataType::kI8) {
    return std::unique_ptr<CpuKernel>(std::make_unique<Dequantize<int8_t>>(from, hai_dequantize_i8_for(context.isa)));
  }
  if (x.dtype == DataType::kU8) {
    return std::unique_ptr<CpuKernel>(std::make_unique<Dequantize<uint8_t>>(from, hai_dequantize_u8_for(context.isa)));
  }
  return std::unique_ptr<CpuKernel>(std::make_unique<Dequantize<int16_t>>(from, hai_dequantize_i16_for(context.isa)));
}

}  // namespace

void register_dequantize_exec(ExecRegistry& registry);
void register_dequantize_exec(ExecRegistry& registry) { registry.add("dequantize", make); }

}  // namespace hai::cpu

// cast on the CPU: one loop per pair of types over types/cast.h.
//
// Casts move little data (masks, indices, pictures), so plain loops do. In place is not promised: widths differ.
#include "types/cast.h"

#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/parallel_chunks.h"
#include "types/half.h"

namespace hai::cpu {
namespace {

struct Half {
  uint16_t bits;
};
struct BrainFloat {
  uint16_t bits;
};

template <typename From, typename To>
void cast_loop(const std::byte* x, std::byte* y, int64_t begin, int64_t end) {
  const auto* from = reinterpret_cast<const From*>(x);
  auto* to = reinterpret_cast<To*>(y);
  for (int64_t i = begin; i < end; ++i) {
    if constexpr (std::is_same_v<From, Half>) {
      to[i] = hai_f16_to_f32(from[i].bits);
    } else if constexpr (std::is_same_v<To, Half>) {
      to[i].bits = half_of(from[i]);
    } else if constexpr (std::is_same_v<From, BrainFloat>) {
      to[i] = hai_bf16_to_f32(from[i].bits);
    } else {
      to[i] = cast_element<To>(from[i]);
    }
  }
}

using Loop = void (*)(const std::byte*, std::byte*, int64_t, int64_t);

template <typename From>
Loop loop_from(DataType to) {
  switch (to) {
    case DataType::kF32:
      return cast_loop<From, float>;
    case DataType::kI64:
      return cast_loop<From, int64_t>;
    case DataType::kI32:
      return cast_loop<From, int32_t>;
    case DataType::kI8:
      return cast_loop<From, int8_t>;
    case DataType::kU8:
      return cast_loop<From, uint8_t>;
    case DataType::kBool:
      return cast_loop<From, BoolByte>;
    default:
      return nullptr;
  }
}

Loop loop_for(DataType from, DataType to) {
  switch (from) {
    case DataType::kF32:
      return to == DataType::kF16 ? cast_loop<float, Half> : loop_from<float>(to);
    case DataType::kI64:
      return loop_from<int64_t>(to);
    case DataType::kI32:
      return loop_from<int32_t>(to);
    case DataType::kI8:
      return loop_from<int8_t>(to);
    case DataType::kU8:
      return loop_from<uint8_t>(to);
    case DataType::kBool:
      return loop_from<BoolByte>(to);
    case DataType::kF64:
      return to == DataType::kF32 ? cast_loop<double, float> : nullptr;
    case DataType::kF16:
      return to == DataType::kF32 ? cast_loop<Half, float> : nullptr;
    case DataType::kBF16:
      return to == DataType::kF32 ? cast_loop<BrainFloat, float> : nullptr;
    default:
      return nullptr;
  }
}

class Cast final : public CpuKernel {
 public:
  explicit Cast(Loop loop) : loop_(loop) {}
  void run(const RunContext& context) const override {
    for_chunks(context.threads, context.outputs[0].count(), kElementChunk,
               [&](int64_t begin, int64_t end) { loop_(context.inputs[0].data, context.outputs[0].data, begin, end); });
  }

 private:
  Loop loop_;
};

Result<std::unique_ptr<CpuKernel>> make(const KernelContext& context) {
  HAI_TRY_STATUS(require_counts(context, 1, 1));
  HAI_TRY_STATUS(require_same_shape(context, *context.inputs[0], *context.outputs[0]));
  const Loop loop = loop_for(context.inputs[0]->dtype, context.outputs[0]->dtype);
  if (loop == nullptr) return context.refuse("no conversion between these types");
  return std::unique_ptr<CpuKernel>(std::make_unique<Cast>(loop));
}

}  // namespace

void register_cast_exec(ExecRegistry& registry);
void register_cast_exec(ExecRegistry& registry) { registry.add("cast", make); }

}  // namespace hai::cpu

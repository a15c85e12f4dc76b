// Checks of operands at load time: see the header. No tensor data is touched here.
//
// Beside kernel_checks.h, which serves kernels over elements: these serve kernels that move, pool and reduce, whose
// shapes follow types/shape_rules.h.
#include "devices/cpu/exec/operand_checks.h"

#include <fmt/format.h>

#include "base/checked.h"
#include "devices/cpu/exec/kernel_checks.h"
#include "devices/cpu/exec/rescale_kernels.h"

namespace hai::cpu {
Status check_operand_counts(const KernelContext& context, size_t min_inputs, size_t max_inputs, size_t min_outputs,
                            size_t max_outputs) {
  if (context.inputs.size() < min_inputs || context.inputs.size() > max_inputs) {
    return context.refuse(fmt::format("it has {} inputs", context.inputs.size()));
  }
  if (context.outputs.size() < min_outputs || context.outputs.size() > max_outputs) {
    return context.refuse(fmt::format("it has {} outputs", context.outputs.size()));
  }
  for (size_t i = 0; i < context.inputs.size(); ++i) {
    if (context.inputs[i] == nullptr) return context.refuse(fmt::format("input {} is absent", i));
    if (context.inputs[i]->shape.size() > static_cast<size_t>(kMaxRank)) {
      return context.refuse(fmt::format("input {} has rank {}", i, context.inputs[i]->shape.size()));
    }
  }
  for (size_t i = 0; i < context.outputs.size(); ++i) {
    if (context.outputs[i] == nullptr) return context.refuse(fmt::format("output {} is absent", i));
  }
  return {};
}

Status check_output_shape(const KernelContext& context, size_t index, const Rule<Shape>& wanted) {
  if (!wanted) return context.refuse(wanted.reason());
  const Shape& shape = context.outputs[index]->shape;
  if (shape == *wanted) return {};
  return context.refuse(fmt::format("output {} has shape {}, it must be {}", index, to_string(shape, context.symbols),
                                    to_string(*wanted, context.symbols)));
}

Status check_moved(const KernelContext& context, size_t index, size_t input) {
  const format::ProgramTensor& from = *context.inputs[input];
  const format::ProgramTensor& to = *context.outputs[index];
  if (from.dtype == to.dtype && from.quantization == to.quantization) return {};
  return context.refuse(fmt::format("output {} is {} and input {} is {}, or their scales differ: a move keeps both",
                                    index, data_type_name(to.dtype), input, data_type_name(from.dtype)));
}

Result<int64_t> check_element_bytes(const KernelContext& context, const format::ProgramTensor& tensor) {
  const int bits = bit_width(tensor.dtype);
  if (bits < 8) return context.refuse(fmt::format("elements of {} are packed", data_type_name(tensor.dtype)));
  return static_cast<int64_t>(bits / 8);
}

Status check_quantized(const KernelContext& context, const format::ProgramTensor& tensor) {
  if (tensor.dtype != DataType::kI8 && tensor.dtype != DataType::kU8 && tensor.dtype != DataType::kI16) {
    return context.refuse(fmt::format("tensor '{}' is {}", tensor.name, data_type_name(tensor.dtype)));
  }
  HAI_TRY_STATUS(affine_of(context, tensor));
  return {};
}

Result<float> check_multiplier(const KernelContext& context, float multiplier) {
  HAI_TRY_STATUS(require_usable(context, multiplier));
  return multiplier;
}

Result<std::optional<Rescale>> check_rescale(const KernelContext& context, const format::ProgramTensor& from,
                                             const format::ProgramTensor& to) {
  if (from.dtype != to.dtype) {
    return context.refuse(
        fmt::format("{} cannot become {} here", data_type_name(from.dtype), data_type_name(to.dtype)));
  }
  if (from.quantization == to.quantization) return std::optional<Rescale>();
  HAI_TRY_STATUS(check_quantized(context, from));
  HAI_TRY_STATUS(check_quantized(context, to));
  Rescale rescale;
  rescale.zero_x = zero_point_of(from);
  HAI_TRY(rescale.multiplier, check_multiplier(context, hai_multiplier_ratio(scale_of(from), scale_of(to))));
  rescale.out = full_range(to);
  return std::optional<Rescale>(rescale);
}

void rescale_elements(const Rescale& rescale, DataType dtype, Isa isa, const std::byte* x, std::byte* y,
                      int64_t count) {
  if (dtype == DataType::kI8) {
    rescale_s8_for(isa)(reinterpret_cast<const int8_t*>(x), reinterpret_cast<int8_t*>(y), count, rescale.zero_x,
                        rescale.multiplier, rescale.out);
  } else if (dtype == DataType::kU8) {
    rescale_u8_for(isa)(reinterpret_cast<const uint8_t*>(x), reinterpret_cast<uint8_t*>(y), count, rescale.zero_x,
                        rescale.multiplier, rescale.out);
  } else {
    rescale_s16_for(isa)(reinterpret_cast<const int16_t*>(x), reinterpret_cast<int16_t*>(y), count, rescale.zero_x,
                         rescale.multiplier, rescale.out);
  }
}

int64_t most_summands(DataType dtype) { return bit_width(dtype) == 8 ? INT32_MAX / 255 : int64_t{1} << 36; }

float scale_of(const format::ProgramTensor& tensor) { return tensor.quantization->scales[0]; }
int32_t zero_point_of(const format::ProgramTensor& tensor) { return tensor.quantization->zero_points[0]; }

hai_output_range full_range(const format::ProgramTensor& tensor) {
  return {zero_point_of(tensor), static_cast<int32_t>(integer_min(tensor.dtype)),
          static_cast<int32_t>(integer_max(tensor.dtype))};
}

Result<DimBounds> check_bounds(const KernelContext& context, const Dim& dim) {
  if (!dim.is_symbolic()) return DimBounds{dim.value, dim.value};
  const auto symbol = static_cast<size_t>(dim.symbol);
  if (symbol >= context.symbols.size()) return context.refuse(fmt::format("there is no symbol {}", dim.symbol));
  const auto min = checked_mul(dim.value, context.symbols[symbol].min);
  const auto max = checked_mul(dim.value, context.symbols[symbol].max);
  if (!min || !max || *min < 0) return context.refuse("a symbolic size passes 2^63");
  return DimBounds{*min, *max};
}

}  // namespace hai::cpu

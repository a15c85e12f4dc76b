// Checks shared by the kernels' makers.
//
// Everything a kernel's run() relies on is established here or in its maker, so that run() has nothing left to refuse.
// The verifier has checked tensor numbers and memory ranges before (format/program.h); types and shapes are checked
// here.
#include "devices/cpu/exec/kernel_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace hai::cpu {

Status require_counts(const KernelContext& context, size_t inputs, size_t outputs) {
  return require_counts_between(context, inputs, inputs, outputs);
}

Status require_counts_between(const KernelContext& context, size_t required, size_t at_most, size_t outputs) {
  if (context.inputs.size() < required || context.inputs.size() > at_most || context.outputs.size() != outputs) {
    return context.refuse(fmt::format("has {} operands and {} results, must have {} to {} and {}",
                                      context.inputs.size(), context.outputs.size(), required, at_most, outputs));
  }
  const auto absent = [](const format::ProgramTensor* tensor) { return tensor == nullptr; };
  if (std::any_of(context.inputs.begin(), context.inputs.begin() + static_cast<std::ptrdiff_t>(required), absent) ||
      std::any_of(context.outputs.begin(), context.outputs.end(), absent)) {
    return context.refuse("a required operand or result is missing");
  }
  return {};
}

Status require_dtype(const KernelContext& context, const format::ProgramTensor& tensor,
                     std::initializer_list<DataType> allowed) {
  if (std::find(allowed.begin(), allowed.end(), tensor.dtype) != allowed.end()) return {};
  return context.refuse(fmt::format("tensor '{}' of type {} has no kernel", tensor.name, data_type_name(tensor.dtype)));
}

Status require_same_shape(const KernelContext& context, const format::ProgramTensor& a,
                          const format::ProgramTensor& b) {
  if (a.shape == b.shape) return {};
  return context.refuse(fmt::format("tensors '{}' {} and '{}' {} must have the same shape", a.name,
                                    to_string(a.shape, context.symbols), b.name, to_string(b.shape, context.symbols)));
}

Result<Affine> affine_of(const KernelContext& context, const format::ProgramTensor& tensor) {
  const bool stored = tensor.dtype == DataType::kI8 || tensor.dtype == DataType::kU8 || tensor.dtype == DataType::kI16;
  if (!stored || !tensor.quantization || !tensor.quantization->per_tensor() ||
      tensor.quantization->scales.size() != 1 || tensor.quantization->zero_points.size() != 1) {
    return context.refuse(fmt::format("tensor '{}' must be i8, u8 or i16 with one scale", tensor.name));
  }
  const Affine affine{tensor.quantization->scales[0], tensor.quantization->zero_points[0]};
  if (!std::isfinite(affine.scale) || affine.scale <= 0.0F || affine.zero_point < integer_min(tensor.dtype) ||
      affine.zero_point > integer_max(tensor.dtype)) {
    return context.refuse(fmt::format("tensor '{}' has scale {} and zero point {}, which {} cannot have", tensor.name,
                                      affine.scale, affine.zero_point, data_type_name(tensor.dtype)));
  }
  return affine;
}

Result<hai_output_range> output_range_of(const KernelContext& context, const format::ProgramTensor& tensor) {
  HAI_TRY(const Affine affine, affine_of(context, tensor));
  return hai_output_range{affine.zero_point, static_cast<int32_t>(integer_min(tensor.dtype)),
                          static_cast<int32_t>(integer_max(tensor.dtype))};
}

Status require_usable(const KernelContext& context, float multiplier) {
  if (hai_multiplier_usable(multiplier)) return {};
  return context.refuse(fmt::format("the scales give multiplier {}, which must be in [2^-40, 2^8]", multiplier));
}

}  // namespace hai::cpu

// Reading the operands of a product from an instruction.
//
// A program may come from anyone: every operand is checked before it is touched. Weights of i4 become i8 here, once, so
// that packing and kernels know one integer type.
#include "devices/cpu/exec/product_operands.h"

namespace hai::cpu {
namespace {

// Two's complement nibbles, low first.
std::vector<int8_t> unpack_nibbles(const TensorView& view) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(view.data);
  std::vector<int8_t> out(static_cast<size_t>(view.count()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int nibble = (bytes[i / 2] >> (4 * (i % 2))) & 0xf;
    out[i] = static_cast<int8_t>(nibble < 8 ? nibble : nibble - 16);
  }
  return out;
}

}  // namespace

Result<ProductInputs> read_product_inputs(const KernelContext& context, size_t residual_operand) {
  const size_t most = residual_operand == SIZE_MAX ? 3 : residual_operand + 1;
  if (context.inputs.size() < 2 || context.inputs.size() > most || context.inputs[0] == nullptr ||
      context.inputs[1] == nullptr || context.outputs.size() != 1 || context.outputs[0] == nullptr) {
    return context.refuse(fmt::format("takes 2 to {} operands and gives one result", most));
  }
  ProductInputs out;
  out.operands.residual = residual_operand;
  out.x_dtype = context.inputs[0]->dtype;
  const DataType weights = context.inputs[1]->dtype;
  const TensorView& constant = context.constants[1];
  if (constant.data == nullptr) return context.refuse("the weights must be a constant");
  if (out.x_dtype == DataType::kF32 && weights == DataType::kF32) {
    out.weights.f32 = data_of<float>(constant);
    return out;
  }
  const bool wide = out.x_dtype == DataType::kI16;
  const bool bytes = out.x_dtype == DataType::kI8 || out.x_dtype == DataType::kU8;
  const bool small = weights == DataType::kI8 || weights == DataType::kI4;
  if (!(bytes && small) && !(wide && (small || weights == DataType::kI16))) {
    return context.refuse(fmt::format(
        "{} with weights of {}: the CPU has f32 with f32, i8 or u8 with i8 or i4, and i16 with i16, i8 or i4",
        data_type_name(out.x_dtype), data_type_name(weights)));
  }
  HAI_TRY(const RoundingPoint x, one_scale(context, *context.inputs[0], "x"));
  out.x_zero_point = x.zero_point;
  if (weights == DataType::kI16) {
    out.weights.i16 = data_of<int16_t>(constant);
  } else if (weights == DataType::kI8) {
    out.weights.i8 = data_of<int8_t>(constant);
  } else {
    out.unpacked = unpack_nibbles(constant);
    out.weights.i8 = out.unpacked.data();
  }
  return out;
}

}  // namespace hai::cpu

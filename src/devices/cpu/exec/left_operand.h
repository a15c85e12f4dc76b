// The form in which an integer matrix-product kernel reads its left operand (kernels/gemm.h), and how it is copied
// there.
#pragma once

#include <cstdint>

#include "devices/cpu/exec/kernels/gemm.h"
#include "devices/cpu/exec/kernels/stripe.h"
#include "types/data_type.h"

namespace hai::cpu {

struct LeftOperand {
  int64_t element_bytes = 1;
  hai_stripe_kind kind = HAI_STRIPE_BYTES;
  int64_t offset = 0;  // what the copy adds to q
  uint8_t flip = 0;

  // The kernel can read q where it lies.
  bool same_form() const { return kind == HAI_STRIPE_S16 || (kind == HAI_STRIPE_BYTES && flip == 0); }
};

// `x`: i8, u8 or i16, the last for kernels of 16-bit left operands.
inline LeftOperand left_operand(const hai_gemm_kernel& kernel, DataType x, int32_t zero_point) {
  const bool is_signed = x == DataType::kI8;
  if (x == DataType::kI16) return {2, HAI_STRIPE_S16, 0, 0};
  if (kernel.left == HAI_GEMM_LEFT_S16) {
    return {2, is_signed ? HAI_STRIPE_S8_TO_S16 : HAI_STRIPE_U8_TO_S16, -zero_point, 0};
  }
  if ((kernel.left == HAI_GEMM_LEFT_S8) == is_signed) return {};
  return {1, HAI_STRIPE_BYTES, is_signed ? 128 : -128, 0x80};
}

}  // namespace hai::cpu

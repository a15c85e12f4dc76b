// The rescale kernels (kernels/rescale.c): x stored integers of one tensor, y those of another scale; y may be x where
// the types are one.
#pragma once

#include <cstdint>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "types/arithmetic.h"

namespace hai::cpu {

HAI_KERNEL_FAMILY(rescale_s8, void,
                  (const int8_t* x, int8_t* y, int64_t count, int32_t zero_x, float multiplier, hai_output_range out));
HAI_KERNEL_FAMILY(rescale_u8, void,
                  (const uint8_t* x, uint8_t* y, int64_t count, int32_t zero_x, float multiplier,
                   hai_output_range out));
HAI_KERNEL_FAMILY(rescale_s16, void,
                  (const int16_t* x, int16_t* y, int64_t count, int32_t zero_x, float multiplier,
                   hai_output_range out));
// To i8 or u8.
HAI_KERNEL_FAMILY(rescale_s16_bytes, void,
                  (const int16_t* x, uint8_t* y, int64_t count, int32_t zero_x, float multiplier,
                   hai_output_range out));

}  // namespace hai::cpu

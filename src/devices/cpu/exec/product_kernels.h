// The kernels behind convolutions and matrix products, by instruction set.
#pragma once

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/kernels/depthwise.h"
#include "devices/cpu/exec/kernels/depthwise_i8.h"
#include "devices/cpu/exec/kernels/depthwise_s16.h"
#include "devices/cpu/exec/kernels/epilogue.h"
#include "devices/cpu/exec/kernels/epilogue_s16.h"
#include "devices/cpu/exec/kernels/gemm.h"
#include "devices/cpu/exec/kernels/pack_right.h"
#include "devices/cpu/exec/kernels/stripe.h"
#include "devices/cpu/exec/kernels/unpack.h"
#include "devices/cpu/exec/kernels/winograd.h"

HAI_KERNEL_FAMILY(gemm_f32, const hai_gemm_kernel*, (void));
HAI_DOT_KERNEL_FAMILY(gemm_s8_s8_s32, const hai_gemm_kernel*, (void));
HAI_DOT_KERNEL_FAMILY(gemm_s16_s8, const hai_gemm_kernel*, (void));
HAI_DOT_KERNEL_FAMILY(gemm_s16_s16, const hai_gemm_kernel*, (void));
HAI_KERNEL_FAMILY(unpack_s4, void, (const uint8_t*, int8_t*, int64_t));
HAI_KERNEL_FAMILY(pack_right_s8, void, (const hai_pack_right*));
HAI_KERNEL_FAMILY(start_sums_s32, void, (const hai_start_sums*));
HAI_KERNEL_FAMILY(dequantize_panel, void, (const hai_dequantize_panel*));
HAI_KERNEL_FAMILY(stripe_copy, void, (const hai_stripe*));
HAI_KERNEL_FAMILY(epilogue_f32, void, (const hai_epilogue_f32*));
HAI_KERNEL_FAMILY(epilogue_i8, void, (const hai_epilogue_i8*));
HAI_KERNEL_FAMILY(requantize_s16, void, (const hai_requantize_s16*));
HAI_KERNEL_FAMILY(finish_s16, void, (const hai_finish_s16*));
HAI_KERNEL_FAMILY(fixed_point_rows, void, (const hai_fixed_rows*));
HAI_DOT_KERNEL_FAMILY(lookup_rows, void, (const uint8_t*, uint8_t*, int64_t, int64_t, int64_t));
HAI_KERNEL_FAMILY(depthwise_f32, void, (const hai_depthwise*));
HAI_KERNEL_FAMILY(depthwise_s8, void, (const hai_depthwise*));
HAI_DOT_KERNEL_FAMILY(depthwise_i8, const hai_depthwise_i8_kernel*, (void));
HAI_KERNEL_FAMILY(depthwise_s16, void, (const hai_depthwise_s16*));
HAI_KERNEL_FAMILY(winograd_input_s16, void, (const hai_winograd_input*));
HAI_KERNEL_FAMILY(winograd_input_f32, void, (const hai_winograd_input*));
HAI_KERNEL_FAMILY(winograd_output_s32, void, (const hai_winograd_output*));
HAI_KERNEL_FAMILY(winograd_output_f32, void, (const hai_winograd_output*));

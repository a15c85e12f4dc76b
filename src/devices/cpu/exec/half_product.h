// Convolutions and products with a constant matrix in f16.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/winograd_convolution.h"

namespace hai::cpu {

// Whether x is f16, which this file takes.
bool is_half_product(const KernelContext& context);

// The constant weights, in their own order. Errors C0xx: another type, or weights that are not finite.
Result<std::vector<float>> half_weights(const KernelContext& context);

// `weights` as [O][KH][KW][C / groups]; one image is what `geometry` says, and there are as many as x has elements for.
// Operands: x, weights, bias (constant, f16 or f32), residual. Preconditions: x has the shape of `geometry`'s images,
// and y that of its results.
Result<std::unique_ptr<CpuKernel>> make_half_product(const KernelContext& context, const ConvolutionGeometry& geometry,
                                                     const std::vector<float>& weights);

// The same by tiles: `weights` are taps, [O][taps][C].
Result<std::unique_ptr<CpuKernel>> make_half_winograd(const KernelContext& context, const WinogradGeometry& geometry,
                                                      const std::vector<float>& weights);

}  // namespace hai::cpu

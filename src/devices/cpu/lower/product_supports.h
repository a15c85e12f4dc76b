// What convolutions and matrix products may be on the CPU, checked while the compiler can still place them elsewhere.
#pragma once

#include "base/result.h"
#include "devices/cpu/lower/lower_registry.h"
#include "ir/graph.h"

namespace hai::cpu {

// x f32 with f32, f16 with finite f16, or i8/u8 with i8/i4 of zero point 0; bias constant; multipliers usable; sums
// proved to fit 32 bits. `channel_axis`: that of the weights' output channels. `constant_weights`: they must be a
// constant.
Status supports_product(const ir::Graph& graph, const ir::Node& node, int channel_axis);

// Integers a and b (operands 0 and 1) with one scale each, b no constant matrix: a i8, u8 or i16, b i8 or u8; the sums
// proved to fit for whatever the operands hold.
Status supports_varying_product(const ir::Graph& graph, const ir::Node& node);

// What both forms ask but the proof of sums: x i8 or u8, weights and bias constant, the residual's type, multipliers
// with `weight_factor` on the scales of weights.
Status supports_8bit_product(const ir::Graph& graph, const ir::Node& node, double weight_factor);

// conv2d and conv_transpose2d: what supports_product() takes, and f32 with weights or a bias that are no constants, as
// in training. The latter become the instruction <op>_variable, which packs them in each run.
Status supports_convolution(const ir::Graph& graph, const ir::Node& node);
Status lower_convolution(LowerContext& context);

}  // namespace hai::cpu

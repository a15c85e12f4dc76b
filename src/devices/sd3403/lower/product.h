// What conv2d and matmul have in common on the NPU: weights, sums that fit, and the epilogue of Convolve.
#pragma once

#include "devices/sd3403/lower/segment_builder.h"

namespace hai::sd3403 {

// f16 with constant weights of f16 (lower/half.h), or integers with those of 4 or 8 bits (16 where x has them),
// rounding half to even; `channel_axis` is that of the weights.
Status product_supports(const ir::Graph& graph, const ir::Node& node, int channel_axis);

// What follows the sums: bias, rounding, function, residual.
Status epilogue_supports(const ir::Graph& graph, const ir::Node& node);

// Weights less their zero points, of f16 their bits, in the order of the constant.
std::vector<int16_t> centred_weights(const ir::Graph& graph, const ir::Node& node, int channel_axis);

// Fills types, zero points, epilogue and constants of `layer`, whose body is a Convolve with its geometry and whose
// constants have weights [output channel][window][depth]; adds the residual's operand; sets `writes`.
Status finish_product(SegmentBuilder& builder, Layer& layer);

// The part of it that does not look at weights. Precondition: `writes` and the form of the weights are set.
Status finish_sums(SegmentBuilder& builder, Layer& layer);

}  // namespace hai::sd3403

// What conv2d and matmul have in common on the NPU: weights, sums that fit, and the epilogue of Convolve.
#pragma once

#include "devices/sd3403/lower/segment_builder.h"

namespace hai::sd3403 {

// Of integers with constant weights (half_product_rules() of lower/half.h: of f16).
Rules product_rules();

// What follows the sums of integers: bias, rounding, function.
Rules epilogue_rules();

// Weights less their zero points, of f16 their bits, in the order of the constant.
std::vector<int16_t> centred_weights(const ir::Graph& graph, const ir::Node& node, int channel_axis);

// Fills types, zero points, epilogue and constants of `layer`, whose body is a Convolve with its geometry and whose
// constants have weights [output channel][window][depth]; adds the residual's operand; sets `writes`.
Status finish_product(SegmentBuilder& builder, Layer& layer);

// The part of it that does not look at weights. Precondition: `writes` and the form of the weights are set.
Status finish_sums(SegmentBuilder& builder, Layer& layer);

}  // namespace hai::sd3403

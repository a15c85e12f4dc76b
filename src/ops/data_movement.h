// What the operators that move, pool and reduce data share: types of their outputs, rescaling in the reference, and
// parts of samples. Shapes come from types/shape_rules.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ops/inference.h"
#include "ops/reference.h"
#include "types/pool_window.h"

namespace hai::ops {

// --- output types ---

// Output of an operator that moves elements and keeps their scale. A tensor with a scale per slice keeps it when its
// axis survives whole, as axis `scale_axis` of the output; -1 says that it does not, which is an error for such
// tensors.
Result<ir::TensorType> moved_with_scales(const InferContext& context, size_t operand, Shape shape, int scale_axis);
// The axis of operand's scales, -1 for one scale or none.
int scale_axis_of(const ir::TensorType& type);

// Output of an operator that moves elements and may give them another scale: the declared quantization when it has the
// operand's element type, else the operand's own. Checks that operand can be rescaled to it.
Result<ir::TensorType> rescaled_output(const InferContext& context, size_t operand, Shape shape);
// Status of rescaling a tensor of type `from` to `to`: equal, or one scale each with a usable ratio.
Status require_rescalable(const ir::TensorType& from, const ir::TensorType& to);

// A multiplier that the arithmetic allows.
Status require_multiplier(float multiplier);

// kernel, strides, pads, dilations, ceil_mode, count_include_pad of a pool.
Result<PoolWindow> pool_window_of(const ir::Node& node);

// --- references ---

// One element, bits unchanged, between tensors of one element type.
void move_element(const MutableTensorView& to, int64_t to_index, const TensorView& from, int64_t from_index);
// One integer element with the scale of the output (the same bits when the scales are equal).
int64_t rescaled(const TensorView& from, const MutableTensorView& to, int64_t value);
// acc * multiplier in the output's type: through f32 for 8 bits, through f64 when 16 bits take part.
int64_t requantized(DataType from, const MutableTensorView& to, int64_t acc, float multiplier);

// --- samples ---

SampleInput sample_input(DataType dtype, Shape shape, std::optional<Quantization> quantization = {});
Sample make_sample(std::string name, std::vector<SampleInput> inputs, ir::Attributes attributes);
// Declares output 0 of a sample.
Sample declaring(Sample sample, DataType dtype, Quantization quantization);

}  // namespace hai::ops

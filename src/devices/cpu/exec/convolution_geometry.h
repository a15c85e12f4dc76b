// The geometry of a conv2d from the attributes of an instruction and the shapes of x, weights and y.
//
// conv2d and its gradients carry the same attributes; each has two of the three as operands.
#pragma once

#include "devices/cpu/exec/convolution.h"

namespace hai::cpu {

// Everything is checked: shapes that do not belong together are refused.
Result<ConvolutionGeometry> read_convolution_geometry(const KernelContext& context, const Shape& x, const Shape& w,
                                                      const Shape& y);

}  // namespace hai::cpu

// Parts of conv2d that stand in files of their own, and what its gradients share with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/op_schema.h"

namespace hai::ops {

struct ConvAttributes {
  std::vector<int64_t> strides;    // rows, columns
  std::vector<int64_t> pads;       // top, left, bottom, right
  std::vector<int64_t> dilations;  // rows, columns
  int64_t groups = 1;
};

Result<ConvAttributes> read_conv_attributes(const ir::Node& node);
// y's shape, or why x and weights do not fit together. Precondition: both have four axes.
Result<Shape> conv_output_shape(const Shape& x, const Shape& weights, const ConvAttributes& attributes,
                                std::span<const Symbol> symbols);

// Shapes that the samples of conv2d and of its gradients run through.
struct ConvSampleGeometry {
  const char* name;
  int64_t n, h, w, c, o, kh, kw;
  int64_t stride = 1;
  std::vector<int64_t> pads = {0, 0, 0, 0};
  std::vector<int64_t> dilations = {1, 1};
  int64_t groups = 1;

  int64_t out_rows() const { return (h + pads[0] + pads[2] - dilations[0] * (kh - 1) - 1) / stride + 1; }
  int64_t out_cols() const { return (w + pads[1] + pads[3] - dilations[1] * (kw - 1) - 1) / stride + 1; }
  ir::Attributes attributes() const;
};
const std::vector<ConvSampleGeometry>& conv_sample_geometries();

std::vector<Sample> conv2d_samples(const OpSchema& schema);

}  // namespace hai::ops

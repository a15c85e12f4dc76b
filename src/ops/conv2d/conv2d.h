// Parts of conv2d that stand in files of their own, and what its gradients share with it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/op_schema.h"
#include "ops/reference.h"

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

// For references of the gradients: calls visit(element of dy, first element of x, first element of the weights) for
// every pixel and channel of dy and every place of its window inside x; the channels of a group follow in x and
// weights.
template <typename Visit>
void for_each_window_place(const Dims& dy, const Dims& x, const Dims& w, const ConvAttributes& a, Visit&& visit) {
  int64_t element = 0;
  for_each_index(dy, [&](const auto& at) {
    const int64_t group = at[3] / (w[0] / a.groups);
    for (int64_t ky = 0; ky < w[1]; ++ky) {
      const int64_t row = at[1] * a.strides[0] - a.pads[0] + ky * a.dilations[0];
      if (row < 0 || row >= x[1]) continue;
      for (int64_t kx = 0; kx < w[2]; ++kx) {
        const int64_t column = at[2] * a.strides[1] - a.pads[1] + kx * a.dilations[1];
        if (column < 0 || column >= x[2]) continue;
        visit(element, ((at[0] * x[1] + row) * x[2] + column) * x[3] + group * w[3],
              ((at[3] * w[1] + ky) * w[2] + kx) * w[3]);
      }
    }
    ++element;
  });
}

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

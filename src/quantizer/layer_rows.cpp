// Windows of convolutions and rows of matrix products.
//
// Method: im2col for sampled output positions only: a layer of 112 x 112 outputs is described well by a few thousand of
// them. Padding reads the real zero. A transposed convolution is the gather form of its definition: output (i, j) reads
// tap k from input (i + pad - k * dilation) / stride where that divides. Weights keep the order of the constant, OHWI
// or that of the matrix product.
#include "quantizer/layer_rows.h"

#include <algorithm>

#include "base/result.h"

namespace hai::quantizer {

std::optional<LayerGeometry> LayerGeometry::of(const ir::Graph& graph, ir::NodeId id) {
  const ir::Node& node = graph.node(id);
  const Shape& w = graph.value(node.inputs[1]).type.shape;
  LayerGeometry out;
  if (node.op == "matmul") {
    if (!std::all_of(w.begin(), w.end() - 2, [](const Dim& dim) { return dim.value == 1; })) return std::nullopt;
    out.kind_ = Kind::kMatmul;
    out.transposed_weights_ = node.int_attribute("transpose_b", 0) != 0;
    out.outputs_ = w[w.size() - (out.transposed_weights_ ? 2 : 1)].value;
    out.depth_ = w[w.size() - (out.transposed_weights_ ? 1 : 2)].value;
    return out;
  }
  out.kind_ = node.op == "conv2d" ? Kind::kConv : Kind::kConvTranspose;
  out.groups_ = node.int_attribute("groups", 1);
  out.outputs_ = w[0].value / out.groups_;
  out.kernel_[0] = w[1].value;
  out.kernel_[1] = w[2].value;
  out.channels_ = w[3].value;
  out.depth_ = w[1].value * w[2].value * w[3].value;
  out.strides_ = node.ints_attribute("strides", {1, 1});
  out.pads_ = node.ints_attribute("pads", {0, 0, 0, 0});
  out.dilations_ = node.ints_attribute("dilations", {1, 1});
  out.output_padding_ = node.ints_attribute("output_padding", {0, 0});
  return out;
}

int64_t LayerGeometry::weight_index(int64_t g, int64_t o, int64_t k) const {
  if (kind_ == Kind::kMatmul && !transposed_weights_) return k * outputs_ + o;
  return (g * outputs_ + o) * depth_ + k;
}

std::vector<int64_t> LayerGeometry::output_size(const Dims& x) const {
  std::vector<int64_t> out(2);
  for (size_t axis = 0; axis < 2; ++axis) {
    const int64_t window = dilations_[axis] * (kernel_[axis] - 1) + 1;
    const int64_t pads = pads_[axis] + pads_[axis + 2];
    const int64_t size = x[static_cast<int32_t>(axis) + 1];
    out[axis] = kind_ == Kind::kConv ? (size + pads - window) / strides_[axis] + 1
                                     : (size - 1) * strides_[axis] - pads + window + output_padding_[axis];
  }
  return out;
}

int64_t LayerGeometry::positions(const Dims& x) const {
  if (x.count() == 0) return 0;
  if (kind_ == Kind::kMatmul) return x.count() / x[x.rank - 1];
  const std::vector<int64_t> size = output_size(x);
  return x[0] * size[0] * size[1];
}

// The input position that an output reads through a tap, or -1 in the padding.
int64_t LayerGeometry::source(size_t axis, int64_t output, int64_t tap, int64_t size) const {
  if (kind_ == Kind::kConv) {
    const int64_t at = output * strides_[axis] - pads_[axis] + tap * dilations_[axis];
    return at >= 0 && at < size ? at : -1;
  }
  const int64_t at = output + pads_[axis] - tap * dilations_[axis];
  return at >= 0 && at % strides_[axis] == 0 && at / strides_[axis] < size ? at / strides_[axis] : -1;
}

template <typename T>
void LayerGeometry::gather_as(const TensorView& x, int64_t position, std::span<float> out) const {
  const T* data = data_of<T>(x);
  const float scale = x.quantization != nullptr ? x.quantization->scales[0] : 1.0F;
  const float zero_point = x.quantization != nullptr ? static_cast<float>(x.quantization->zero_points[0]) : 0.0F;
  const auto real = [&](T value) { return scale * (static_cast<float>(value) - zero_point); };
  if (kind_ == Kind::kMatmul) {
    std::transform(data + position * depth_, data + (position + 1) * depth_, out.begin(), real);
    return;
  }
  const std::vector<int64_t> size = output_size(x.dims);
  const int64_t column = position % size[1];
  const int64_t row = position / size[1] % size[0];
  const int64_t n = position / size[1] / size[0];
  std::fill(out.begin(), out.end(), 0.0F);
  for (int64_t ky = 0; ky < kernel_[0]; ++ky) {
    const int64_t y = source(0, row, ky, x.dims[1]);
    for (int64_t kx = 0; kx < kernel_[1]; ++kx) {
      const int64_t at = source(1, column, kx, x.dims[2]);
      if (y < 0 || at < 0) continue;
      const T* from = data + ((n * x.dims[1] + y) * x.dims[2] + at) * x.dims[3];
      const int64_t tap = (ky * kernel_[1] + kx) * channels_;
      for (int64_t g = 0; g < groups_; ++g) {
        std::transform(from + g * channels_, from + (g + 1) * channels_, out.begin() + g * depth_ + tap, real);
      }
    }
  }
}

void LayerGeometry::gather(const TensorView& x, int64_t position, std::span<float> out) const {
  switch (x.dtype) {
    case DataType::kI8:
      return gather_as<int8_t>(x, position, out);
    case DataType::kI16:
      return gather_as<int16_t>(x, position, out);
    default:
      HAI_CHECK(x.dtype == DataType::kF32);
      return gather_as<float>(x, position, out);
  }
}

std::vector<int64_t> sample_positions(int64_t total, int64_t count, uint64_t seed) {
  std::vector<int64_t> out;
  count = std::min(count, total);
  uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = total * i / count;
    const int64_t end = total * (i + 1) / count;
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    out.push_back(begin + static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(end - begin)));
  }
  return out;
}

}  // namespace hai::quantizer

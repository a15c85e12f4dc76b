// LayerRows: what a layer multiplies its weights with, as rows of a matrix per group, sampled from calibration runs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ir/graph.h"
#include "types/tensor_view.h"

namespace hai::quantizer {

// A conv2d, conv_transpose2d or matmul with constant weights as `groups` matrix products: outputs = rows * weights^T
// with `depth` products a sum and `outputs` output channels a group.
class LayerGeometry {
 public:
  // Nothing for a matmul whose constant has more than one matrix.
  static std::optional<LayerGeometry> of(const ir::Graph& graph, ir::NodeId node);

  int64_t groups() const { return groups_; }
  int64_t outputs() const { return outputs_; }
  int64_t depth() const { return depth_; }

  // Where weight k of output channel o of group g lies in the constant.
  int64_t weight_index(int64_t g, int64_t o, int64_t k) const;
  // Output positions (rows) that an input of these dims makes.
  int64_t positions(const Dims& x) const;
  // The products of one position: [groups][depth] real numbers. `x` is f32, or i8 or i16 with one scale.
  void gather(const TensorView& x, int64_t position, std::span<float> out) const;

 private:
  enum class Kind : uint8_t { kConv, kConvTranspose, kMatmul };
  template <typename T>
  void gather_as(const TensorView& x, int64_t position, std::span<float> out) const;
  int64_t source(size_t axis, int64_t output, int64_t tap, int64_t size) const;
  std::vector<int64_t> output_size(const Dims& x) const;

  Kind kind_ = Kind::kConv;
  int64_t groups_ = 1;
  int64_t outputs_ = 1;
  int64_t depth_ = 1;
  int64_t kernel_[2] = {1, 1};
  int64_t channels_ = 1;  // of a group
  std::vector<int64_t> strides_{1, 1};
  std::vector<int64_t> pads_{0, 0, 0, 0};
  std::vector<int64_t> dilations_{1, 1};
  std::vector<int64_t> output_padding_{0, 0};
  bool transposed_weights_ = false;  // matmul: [N, K]
};

// `count` positions out of [0, total), ascending, one from each of `count` equal parts; the same for the same seed.
std::vector<int64_t> sample_positions(int64_t total, int64_t count, uint64_t seed);

}  // namespace hai::quantizer

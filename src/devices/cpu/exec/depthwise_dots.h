// DepthwiseDots: an integer depthwise filter whose sums are dot products of bytes (kernels/depthwise_i8.h). It serves
// layers of at least a block of channels, without dilation, whose outputs the kernel can store itself.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/exec/kernels/depthwise_i8.h"

namespace hai::cpu {

// A filter as DepthwiseConvolution holds it: weights are integers, [taps][padded].
struct DepthwiseFilter {
  const ConvolutionGeometry& geometry;
  std::span<const float> weights;
  int64_t padded;
  bool x_signed;
  int32_t x_zero_point;
};

class DepthwiseDots {
 public:
  // Without a value where the instruction set has no such kernel, or the layer does not suit it. `largest_sums[c]`: the
  // largest magnitude of channel c's sum with its bias.
  static Result<std::optional<DepthwiseDots>> make(const DepthwiseFilter& filter, const ProductEpilogue& epilogue,
                                                   std::span<const int64_t> largest_sums, Isa isa);

  int64_t packed_bytes() const { return weights_.size_bytes() + bias_.size_bytes() + multiplier_.size_bytes(); }
  int64_t scratch_bytes() const { return stripe_rows_ * stripe_cols_ * geometry_.in_channels; }
  int64_t rows_at_once() const { return kernel_->rows_at_once; }
  // `count` <= rows_at_once output rows of one image. `scratch` is 64-byte aligned.
  void run(const std::byte* image, int64_t row, int64_t count, std::byte* scratch, std::byte* out) const;

 private:
  Status pack(const DepthwiseFilter& filter, const ProductEpilogue& epilogue);

  const hai_depthwise_i8_kernel* kernel_ = nullptr;
  ConvolutionGeometry geometry_;
  Isa isa_ = Isa::kScalar;
  hai_depthwise_i8 call_{};  // what all calls share
  int64_t stripe_rows_ = 0, stripe_cols_ = 0;
  int64_t call_cols_ = 0;  // output columns of a call, so many that its stripe stays in the first cache
  uint8_t x_flip_ = 0, x_padding_ = 0;
  AlignedBuffer weights_, bias_, multiplier_;
};

}  // namespace hai::cpu

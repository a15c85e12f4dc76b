// DepthwiseConvolution: one filter a channel, computed directly over rows of the image. See kernels/depthwise.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/exec/depthwise_dots.h"

namespace hai::cpu {

class DepthwiseConvolution {
 public:
  // Precondition: geometry.groups == in_channels == out_channels, and outputs are stored without steps. Weights are
  // [C][KH][KW].
  static Result<DepthwiseConvolution> make(const ConvolutionGeometry& geometry, const ConvolutionWeights& weights,
                                           DataType x_dtype, int32_t x_zero_point, Isa isa);

  std::vector<int64_t> channel_positions() const;
  int64_t padded_channels() const { return padded_; }
  std::span<const ChannelWeights> channel_weights() const { return channel_weights_; }
  // Integers are summed in f32 (i16 activations in f64, or in 32 bits where that is enough): false when some sum with
  // its bias might reach 2^24 (2^53) and so lose a bit.
  bool is_exact(const ProductEpilogue& epilogue) const;
  // After this the kernel adds the integer bias, and the epilogue no longer does.
  Status take_bias(ProductEpilogue& epilogue);

  int64_t packed_bytes() const {
    return packed_.size_bytes() + idle_row_.size_bytes() + bias_.size_bytes() + (dots_ ? dots_->packed_bytes() : 0);
  }
  int64_t scratch_bytes_per_thread() const { return scratch_bytes_; }
  void run(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers, ThreadPool& threads) const;

 private:
  // The largest magnitude that a sum of channel c, with its bias, might reach.
  int64_t largest_sum(size_t c, int64_t bias) const;
  // Weights for 32-bit sums.
  Status narrow_weights();
  // Takes the dot products' kernel where it serves the layer.
  Status choose_dots(const ProductEpilogue& epilogue);
  // Output rows [row, row + count) of one image.
  void run_rows(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers, std::byte* scratch, int64_t image,
                int64_t row, int64_t count) const;
  void run_wide_row(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers, const void* const* rows,
                    int64_t first_pixel) const;
  void run_row(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers, std::byte* scratch, int64_t image,
               int64_t row) const;

  ConvolutionGeometry geometry_;
  Isa isa_ = Isa::kScalar;
  bool integer_ = false;
  bool wide_ = false;         // i16 activations
  bool narrow_sums_ = false;  // i16 activations whose sums fit 32 bits
  bool x_signed_ = true;
  int32_t x_zero_point_ = 0;
  int64_t element_bytes_ = 4;
  int64_t padded_ = 0;
  int64_t scratch_bytes_ = 0;
  int64_t finish_cols_ = 0;  // pixels that fit the scratch when the epilogue is not simple
  AlignedBuffer packed_;     // [taps][padded] f32; wide: i16, or i32 with narrow sums
  AlignedBuffer idle_row_;   // a row of zeros or zero points, read above and below the image
  AlignedBuffer bias_;       // f32; wide: f64, or i32 with narrow sums
  std::vector<ChannelWeights> channel_weights_;
  std::optional<DepthwiseDots> dots_;  // instead of packed_, idle_row_ and bias_
};

}  // namespace hai::cpu

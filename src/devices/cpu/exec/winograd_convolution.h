// WinogradConvolution: winograd_conv2d as one matrix product a tap between two transforms (types/winograd.h).
//
// A task is a run of tiles, wherever rows and images end: their transformed inputs are packed tap by tap in the form
// that the product's micro-kernel reads, then every panel of output channels is multiplied tap by tap, transformed and
// finished while its sums are in the second cache. Results depend on neither tasks nor threads.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/exec/product_epilogue.h"
#include "types/winograd.h"

namespace hai::cpu {

struct WinogradGeometry {
  int tile = 4;
  int64_t in_rows = 1, in_cols = 1, in_channels = 1;
  int64_t out_rows = 1, out_cols = 1, out_channels = 1;
  int64_t pad_top = 0, pad_left = 0;

  int side() const { return tile + 2; }
  int taps() const { return side() * side(); }
};

// Of integers; all 0 for f32.
struct WinogradShifts {
  std::array<int32_t, HAI_WINOGRAD_MAX_TAPS> input{};
  std::array<int32_t, HAI_WINOGRAD_MAX_TAPS> exponents{};
};

class WinogradConvolution {
 public:
  // `weights`: f32 where x is f32, else i8, [O][taps][C]. `x_zero_point` is what padding holds.
  static Result<WinogradConvolution> make(const WinogradGeometry& geometry, const WinogradShifts& shifts,
                                          const ConvolutionWeights& weights, DataType x_dtype, int32_t x_zero_point,
                                          Isa isa);

  std::vector<int64_t> channel_positions() const;
  int64_t padded_channels() const { return panels_ * kernel_->nr; }
  // Of f16, whose x and weights are given as f32: transformed inputs are rounded to f16.
  void round_inputs() { rounds_ = true; }
  // The integer bias ([O], or none), folded with what the products' form adds. An error names a channel whose sums may
  // reach 2^53. Must be called once before run().
  Status take_bias(const KernelContext& context, const int32_t* bias);

  int64_t packed_bytes() const;
  int64_t scratch_bytes_per_thread() const { return scratch_.total; }
  // `epilogue` has no integer bias.
  void run(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers, ThreadPool& threads) const;

 private:
  struct Scratch {
    int64_t image = 0, inputs = 0, sums = 0, results = 0, total = 0;  // offsets in bytes
  };
  struct Task {
    std::byte* scratch;
    int64_t first, count;  // tiles
  };
  struct Place {
    int64_t image, row, col;  // of the tile's first output
  };

  Status pack(const ConvolutionWeights& weights);
  Status choose_tiles();
  Place place(int64_t tile) const;
  int64_t tile_rows() const { return (geometry_.out_rows + geometry_.tile - 1) / geometry_.tile; }
  int64_t tile_cols() const { return (geometry_.out_cols + geometry_.tile - 1) / geometry_.tile; }
  void transform_inputs(const Task& task, const std::byte* x) const;
  void multiply(const Task& task, int64_t panel) const;
  void finish(const Task& task, const ProductEpilogue& epilogue, const Convolution::Buffers& buffers,
              int64_t panel) const;
  void store(const Place& at, const ProductEpilogue& epilogue, const Convolution::Buffers& buffers, int64_t panel,
             std::byte* results) const;
  int32_t columns(int64_t panel) const {
    return static_cast<int32_t>(std::min<int64_t>(kernel_->nr, geometry_.out_channels - panel * kernel_->nr));
  }

  WinogradGeometry geometry_;
  WinogradShifts shifts_;
  Isa isa_ = Isa::kScalar;
  const hai_gemm_kernel* kernel_ = nullptr;
  bool integer_ = false;
  bool rounds_ = false;
  DataType x_dtype_ = DataType::kF32;
  int32_t zero_point_ = 0;
  int64_t x_element_bytes_ = 4;
  int64_t left_element_bytes_ = 4;
  int64_t steps_ = 1;      // of one product
  int64_t row_bytes_ = 0;  // of one tile's packed inputs of one tap
  int64_t panels_ = 1;
  int64_t panel_bytes_ = 0;  // of one tap
  int64_t most_tiles_ = 1;   // in a task
  Scratch scratch_;
  AlignedBuffer packed_;               // [tap][panel]
  AlignedBuffer no_bias_;              // of the f32 products
  std::vector<int64_t> weight_sums_;   // [O][taps]
  std::vector<int64_t> weight_sizes_;  // [O][taps], of absolute values
  std::vector<int32_t> bias_s32_;      // [tile * tile][padded]; empty: sums need 53 bits
  std::vector<double> bias_f64_;
};

}  // namespace hai::cpu

// Convolution: implicit matrix product over packed weights; what conv2d, conv_transpose2d and matmul run on.
//
// Output pixels of one row form the rows of a tile, output channels its columns. A tile reads the image where it lies:
// neighbouring pixels are a fixed number of bytes apart, and the sum runs over few contiguous segments (one a kernel
// row). Where the image cannot be read directly (padding, integers in another form than the kernel's), a block of it is
// first copied, once, into scratch that stays in the second cache. There is no im2col. See kernels/gemm.h.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/exec_registry.h"
#include "devices/cpu/exec/left_operand.h"
#include "devices/cpu/exec/product_epilogue.h"
#include "devices/cpu/exec/product_kernels.h"

namespace hai::cpu {

// One image. Output pixel (i, j) is stored at (i * out_row_step + out_row_offset, j * out_col_step + out_col_offset) of
// an output of store_rows x store_cols pixels: a transposed convolution is several of these, interleaved.
struct ConvolutionGeometry {
  int64_t in_rows = 1, in_cols = 1, in_channels = 1;
  int64_t out_rows = 1, out_cols = 1, out_channels = 1;
  int64_t kernel_rows = 1, kernel_cols = 1;
  int64_t stride_rows = 1, stride_cols = 1;
  int64_t dilation_rows = 1, dilation_cols = 1;
  int64_t pad_top = 0, pad_left = 0;  // may be negative
  int64_t groups = 1;
  int64_t store_rows = 1, store_cols = 1;
  int64_t out_row_step = 1, out_row_offset = 0;
  int64_t out_col_step = 1, out_col_offset = 0;
};

// Integer weights for an f32 image: w = (float(q) + minus_zero) * scale, [blocks][O]; `block` consecutive ks of an
// output channel share a scale, 0: all of them.
struct WeightScales {
  int64_t block = 0;
  std::vector<float> scales;
  std::vector<float> minus_zeros;  // empty: none
};

// Weights [O][KH][KW][C / groups], dense, one of these pointers: f32 for f32 images, i8 for integers, i16 for integers
// too, with sums of 64 bits; i8 with scales for f32 images. None: f32 panels that each run brings (Buffers::panels).
struct ConvolutionWeights {
  const float* f32 = nullptr;
  const int8_t* i8 = nullptr;
  const int16_t* i16 = nullptr;
  bool nibbles = false;  // all i8 are within [-8, 7]: panels keep two a byte
  std::shared_ptr<const WeightScales> scales = nullptr;
};

class Convolution {
 public:
  // `x_dtype`: f32, i8, u8 or i16. `x_zero_point` is what padding holds.
  static Result<Convolution> make(const ConvolutionGeometry& geometry, const ConvolutionWeights& weights,
                                  DataType x_dtype, int32_t x_zero_point, Isa isa);

  // For ProductEpilogue::make.
  std::vector<int64_t> channel_positions() const;
  int64_t padded_channels() const { return geometry_.groups * panels_ * kernel_->nr; }
  std::span<const ChannelWeights> channel_weights() const { return channel_weights_; }
  int64_t left_offset() const { return left_.offset; }

  // Panels of f32: [groups][outputs of a group / panel_columns()][KH][KW][C / groups][panel_columns()], zeros past the
  // last output.
  int64_t panel_columns() const { return kernel_->nr; }
  int64_t panel_bytes() const { return panel_bytes_; }
  int64_t panel_count() const { return geometry_.groups * panels_; }

  int64_t packed_bytes() const { return packed_.size_bytes() + scales_.size_bytes() + minus_zeros_.size_bytes(); }
  int64_t scratch_bytes_per_thread() const { return scratch_.total; }

  struct Buffers {
    const std::byte* x;
    const std::byte* residual;  // null: none
    std::byte* y;
    std::byte* scratch;  // thread_count * scratch_bytes_per_thread()
    int64_t images;
    const std::byte* panels = nullptr;  // for a product without weights of its own
    const float* bias = nullptr;        // padded_channels(), in place of the epilogue's

    // The residual of output element `element`; null: none.
    const std::byte* residual_at(int64_t element, const ProductEpilogue& epilogue) const {
      return residual == nullptr ? nullptr : residual + element * epilogue.residual_element_bytes();
    }
  };
  void run(const ProductEpilogue& epilogue, const Buffers& buffers, ThreadPool& threads) const;

 private:
  struct Block;
  struct Scratch {
    int64_t segments = 0, offsets = 0, sums = 0, panel = 0, copy = 0, total = 0;  // offsets in bytes
  };
  // What the tiles of one panel have in common.
  struct Panel {
    hai_gemm_i8_tile i8;
    hai_gemm_f32_tile f32;
    hai_gemm_s16_tile s16;
    int64_t channel, position;  // of the first column: in the output, and in the epilogue's arrays
    int64_t out_stride;
    int32_t cols;
  };
  // The loops of one run: images flattened where the geometry allows.
  struct Plan {
    int64_t images, rows, cols;          // output pixels
    int64_t in_rows, in_cols;            // of an image
    int64_t block_rows, block_cols;      // output pixels a task
    int64_t blocks_down, blocks_across;  // per image
    int64_t panel_splits;
  };

  void choose_kernel(const ConvolutionWeights& weights, DataType x_dtype);
  Status pack(const ConvolutionWeights& weights);
  Status pack_scales(const WeightScales& scales);
  void measure(const ConvolutionWeights& weights, int64_t length);
  void store_panel(const AlignedBuffer& staged, int64_t number);
  void unpack_panel(int64_t number, std::byte* out) const;
  Status choose_blocks();
  Plan plan(int64_t images, int thread_count) const;
  bool covers_padding() const;
  void copy_block(Block& block, const std::byte* image) const;
  void run_block(Block& block, const ProductEpilogue& epilogue, const Buffers& buffers) const;
  void run_panel(const Block& block, const ProductEpilogue& epilogue, const Buffers& buffers, int64_t group,
                 int64_t panel) const;
  Panel prepare_panel(const Block& block, const ProductEpilogue& epilogue, const Buffers& buffers, int64_t group,
                      int64_t panel) const;
  void run_tile(Panel& panel, const ProductEpilogue& epilogue, const Buffers& buffers, int32_t rows,
                int64_t pixel) const;
  void run_wide_tile(Panel& panel, const ProductEpilogue& epilogue, const Buffers& buffers, int32_t rows,
                     int64_t pixel) const;

  ConvolutionGeometry geometry_;
  Isa isa_ = Isa::kScalar;
  const hai_gemm_kernel* kernel_ = nullptr;
  bool integer_ = false;
  bool wide_ = false;        // sums of 64 bits
  bool flat_ = false;        // 1x1, stride 1, no padding: all images are one row of pixels
  bool copies_ = false;      // the image is read through a copy
  bool subsamples_ = false;  // 1x1 with stride: the copy takes only the pixels that are read
  int64_t x_element_bytes_ = 4;
  LeftOperand left_ = {4, HAI_STRIPE_F32, 0, 0};
  int32_t zero_point_ = 0;
  uint8_t padding_ = 0;
  int64_t segment_cols_ = 1;  // kernel columns in a segment
  int64_t segment_count_ = 1;
  int64_t segment_steps_ = 1;
  int64_t panels_ = 1;              // per group
  int64_t panel_bytes_ = 0;         // as the kernel reads it
  int64_t stored_panel_bytes_ = 0;  // as it is kept
  bool unpacks_ = false;            // these differ: a panel is unpacked into scratch for each block
  bool nibbles_ = false;
  int64_t scale_block_ = 1;  // steps that share scales
  int64_t scale_blocks_ = 1;
  int64_t most_steps_ = 1;  // before 32-bit sums of wide products might overflow
  int64_t block_rows_ = 1;
  int64_t block_cols_ = 1;
  Scratch scratch_;
  AlignedBuffer packed_;
  AlignedBuffer scales_, minus_zeros_;  // [panel][scale_blocks][nr] f32, of integer weights for an f32 image
  std::vector<ChannelWeights> channel_weights_;
};

}  // namespace hai::cpu

// WinogradWeightSums: the gradient of the weights of a 3x3 convolution of stride 1 by F(3x3, 2x2), f32.
//
// A 2x2 tile of dy and the 4x4 of x that it was made of give 16 products in place of 36; their sums over all tiles
// become weights once. Weights are cut into parts (outputs x channels), and where these are few, rows of tiles into
// slices, whose weights are added in order. The cuts depend on the shapes alone, so the bits do not depend on the
// threads.
#pragma once

#include "base/checked.h"
#include "devices/cpu/train/kernels/outer.h"
#include "devices/cpu/train/winograd_tiles.h"

namespace hai::cpu {

class WinogradWeightSums {
 public:
  static Result<WinogradWeightSums> make(const ConvolutionGeometry& geometry, Isa isa);

  int64_t scratch_bytes(int thread_count) const { return slice_bytes() + thread_count * scratch_.total; }
  int64_t fixed_bytes() const { return tiles_.fixed_bytes(); }
  void run(const float* x, const float* dy, int64_t images, float* dw, std::byte* scratch, ThreadPool& threads) const;

 private:
  struct Scratch {
    int64_t sums = 0, inputs = 0, gradients = 0, total = 0;  // offsets in bytes
  };
  struct Part {
    int64_t first_output, outputs, first_channel, channels;
  };
  int64_t weights() const { return geometry_.out_channels * 9 * geometry_.in_channels; }
  int64_t slice_bytes() const { return slices_ == 1 ? 0 : align_up(slices_ * weights() * 4, 64); }
  Part part(int64_t number) const;
  void run_part(const Part& part, int64_t begin, int64_t end, const float* x, const float* dy, float* dw,
                std::byte* scratch) const;
  void transform_gradient(const WinogradTiles::Unit& unit, const Part& part, const float* dy, float* to) const;
  void add_products(const Part& part, int64_t tiles, bool first, std::byte* scratch) const;

  ConvolutionGeometry geometry_;
  Isa isa_ = Isa::kScalar;
  const hai_gemm_kernel* tile_ = nullptr;
  void (*kernel_)(const hai_outer_f32*) = nullptr;
  WinogradTiles tiles_;
  int64_t output_parts_ = 1, part_outputs_ = 1, channel_parts_ = 1, part_channels_ = 1, slices_ = 1;
  Scratch scratch_;
};

}  // namespace hai::cpu

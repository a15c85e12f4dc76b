// WinogradProduct: a 3x3 convolution of stride 1 by F(2x2, 3x3), f32, whose weights each run brings.
//
// 16 products a 2x2 tile in place of 36, and sums that are 9 times shorter: its rounding is that of the direct sum or
// less (docs/design/0018-gradients.md). A task is a run of rows of tiles: their inputs are transformed
// into scratch of the second cache, multiplied tap by tap with a panel of output channels, and transformed back. Each
// tile is computed alone, so results depend on neither tasks nor threads.
#pragma once

#include <limits>

#include "devices/cpu/train/winograd_tiles.h"

namespace hai::cpu {

class WinogradProduct {
 public:
  static Result<WinogradProduct> make(const ConvolutionGeometry& geometry, Isa isa);

  // Of all panels of transformed weights.
  int64_t packed_bytes() const { return panels_ * packed_panel_bytes(); }
  int64_t scratch_bytes_per_thread() const { return scratch_.total; }
  int64_t fixed_bytes() const { return tiles_.fixed_bytes() + no_bias_.size_bytes(); }
  int64_t panel_count() const { return panels_; }
  // Panel `number`, given as Convolution has it (in this thread's scratch or elsewhere), to `packed`.
  void transform_panel(const float* panel, int64_t number, std::byte* packed) const;
  // Where transform_panel's operand may lie in a thread's scratch.
  int64_t panel_bytes() const { return 9 * geometry_.in_channels * kernel_->nr * 4; }

  struct Clamp {
    float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  };
  // buffers.panels: packed; buffers.bias: padded to whole panels.
  void run(const Clamp& clamp, const Convolution::Buffers& buffers, ThreadPool& threads) const;

 private:
  struct Scratch {
    int64_t inputs = 0, sums = 0, total = 0;  // offsets in bytes
  };
  using Unit = WinogradTiles::Unit;
  int64_t packed_panel_bytes() const;
  int32_t columns(int64_t panel) const;
  void multiply(int64_t panel, int64_t tiles, const std::byte* packed, std::byte* scratch) const;
  void transform_output(const Unit& unit, int64_t panel, const float* sums, const Clamp& clamp,
                        const Convolution::Buffers& buffers) const;

  ConvolutionGeometry geometry_;
  Isa isa_ = Isa::kScalar;
  const hai_gemm_kernel* kernel_ = nullptr;
  int64_t panels_ = 1;
  WinogradTiles tiles_;
  Scratch scratch_;
  AlignedBuffer no_bias_;  // a panel's, of the products
};

}  // namespace hai::cpu

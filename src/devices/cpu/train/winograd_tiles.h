// WinogradTiles: the 2x2 tiles of the output of a 3x3 convolution of stride 1, cut into units, and the transform of
// what they read. For the products forward and backward (winograd_product.h) and for the weights
// (winograd_weight_sums.h).
#pragma once

#include "base/checked.h"
#include "devices/cpu/exec/aligned_buffer.h"
#include "devices/cpu/exec/convolution.h"
#include "devices/cpu/train/kernels/winograd_rows.h"

namespace hai::cpu {

inline constexpr int64_t kWinogradTaps = HAI_WINOGRAD_ROWS_TAPS;

class WinogradTiles {
 public:
  // Whether F(2x2, 3x3) is taken for this geometry.
  static bool fits(const ConvolutionGeometry& geometry);
  // `most`: tiles of a block of neighbouring units.
  static Result<WinogradTiles> make(const ConvolutionGeometry& geometry, int64_t most, Isa isa);

  // A run of neighbouring tiles in one row of an image.
  struct Unit {
    int64_t image, row, first, tiles;  // row and first: of tiles
  };
  Unit unit(int64_t number) const;
  int64_t unit_count(int64_t images) const { return images * rows() * parts_; }
  int64_t units_a_block() const { return units_a_block_; }
  int64_t block_tiles() const { return units_a_block_ * part_tiles_; }  // at most
  int64_t fixed_bytes() const { return zeros_.size_bytes(); }
  const float* zeros() const { return zeros_.as<float>(); }  // a row of the image, or of the output

  // From tap to tap of [taps][block_tiles()][width] elements, with a line more: taps that lie whole pages apart would
  // all want the same lines of the first cache.
  int64_t tap_stride(int64_t width) const { return align_up(block_tiles() * width, kLine) + kLine; }

  // V of `channels` channels of x from `first_channel` on: [taps][tap_stride(channels)], the unit's from `to` on.
  void transform_input(const Unit& unit, const float* x, int64_t first_channel, int64_t channels, float* to) const;

 private:
  static constexpr int64_t kLine = 16;  // elements
  int64_t rows() const { return (geometry_.out_rows + 1) / 2; }
  int64_t cols() const { return (geometry_.out_cols + 1) / 2; }

  ConvolutionGeometry geometry_;
  Isa isa_ = Isa::kScalar;
  int64_t parts_ = 1, part_tiles_ = 1;  // a row of tiles is cut into so many units
  int64_t units_a_block_ = 1;
  AlignedBuffer zeros_;
};

}  // namespace hai::cpu

// Rows of tiles longer than a block are cut evenly; blocks are whole units. Cuts depend on the shapes alone.
// Rows of the image above and below it are read from a row of zeros, as long as the longest row of either side.
// What is outside to the left and right the kernel leaves out.
#include "devices/cpu/train/winograd_tiles.h"

#include <algorithm>

#include "devices/cpu/exec/kernel_dispatch.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_winograd_input_rows, void, (const hai_winograd_input_rows*));

constexpr int64_t kLeastChannels = 16;  // fewer leave the transforms more work than they save
constexpr int64_t kMostChannels = 4096;

}  // namespace

bool WinogradTiles::fits(const ConvolutionGeometry& g) {
  return g.kernel_rows == 3 && g.kernel_cols == 3 && g.stride_rows == 1 && g.stride_cols == 1 && g.dilation_rows == 1 &&
         g.dilation_cols == 1 && g.groups == 1 && g.out_row_step == 1 && g.out_col_step == 1 &&
         g.store_rows == g.out_rows && g.store_cols == g.out_cols && g.in_channels >= kLeastChannels &&
         g.out_channels >= kLeastChannels && g.in_channels <= kMostChannels && g.out_channels <= kMostChannels &&
         g.out_rows > 1 && g.out_cols > 1;
}

Result<WinogradTiles> WinogradTiles::make(const ConvolutionGeometry& geometry, int64_t most, Isa isa) {
  WinogradTiles out;
  out.geometry_ = geometry;
  out.isa_ = isa;
  HAI_TRY(out.zeros_,
          AlignedBuffer::zeros(
              std::max(geometry.in_cols * geometry.in_channels, geometry.out_cols * geometry.out_channels) * 4));
  out.parts_ = ceil_div(out.cols(), most);
  out.part_tiles_ = ceil_div(out.cols(), out.parts_);
  out.parts_ = ceil_div(out.cols(), out.part_tiles_);
  out.units_a_block_ = std::max<int64_t>(1, most / out.part_tiles_);
  return out;
}

WinogradTiles::Unit WinogradTiles::unit(int64_t number) const {
  const int64_t first = number % parts_ * part_tiles_;
  const int64_t row = number / parts_;
  return {row / rows(), row % rows(), first, std::min(part_tiles_, cols() - first)};
}

void WinogradTiles::transform_input(const Unit& unit, const float* x, int64_t first_channel, int64_t channels,
                                    float* to) const {
  const ConvolutionGeometry& g = geometry_;
  hai_winograd_input_rows w = {};
  const int64_t row_elements = g.in_cols * g.in_channels;
  for (int64_t r = 0; r < 4; ++r) {
    const int64_t row = 2 * unit.row - g.pad_top + r;
    w.rows[r] =
        row >= 0 && row < g.in_rows ? x + (unit.image * g.in_rows + row) * row_elements + first_channel : zeros();
  }
  w.first_col = 2 * unit.first - g.pad_left;
  w.image_cols = g.in_cols;
  w.channels = w.tile_stride = channels;
  w.pixel_stride = g.in_channels;
  w.tiles = unit.tiles;
  w.out = to;
  w.tap_stride = tap_stride(channels);
  hai_winograd_input_rows_for(isa_)(&w);
}

}  // namespace hai::cpu

// Parts, slices and blocks of tiles, and the products of each tap.
//
// The sums of a part stay in the second cache, beside a block of both operands; those of one tap in the first.
// A block is as many tiles as make the reading and writing of sums small beside the products.
#include "devices/cpu/train/winograd_weight_sums.h"

#include <algorithm>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/train/weight_sums.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_outer_f32, void, (const hai_outer_f32*));
HAI_KERNEL_FAMILY(hai_winograd_gradient_rows, void, (const hai_winograd_gradient_rows*));
HAI_KERNEL_FAMILY(hai_winograd_weight_sums, void, (const hai_winograd_weight_sums*));

constexpr int64_t kTaps = kWinogradTaps;
constexpr int64_t kMostChannels = 64;        // of a part
constexpr int64_t kBlockBytes = 256 * 1024;  // of an operand
constexpr int64_t kMostTiles = 256;
constexpr int64_t kWantedTasks = 8;   // that keep a few threads busy
constexpr int64_t kSlackBytes = 256;  // a vector may begin at the last element of a block

}  // namespace

Result<WinogradWeightSums> WinogradWeightSums::make(const ConvolutionGeometry& geometry, Isa isa) {
  WinogradWeightSums out;
  out.geometry_ = geometry;
  out.isa_ = isa;
  out.tile_ = gemm_f32_for(isa)();
  out.kernel_ = hai_outer_f32_for(isa);
  const auto cut = [](int64_t count, int64_t& parts, int64_t& of_part) {
    of_part = ceil_div(count, ceil_div(count, kMostChannels));
    parts = ceil_div(count, of_part);
  };
  cut(geometry.out_channels, out.output_parts_, out.part_outputs_);
  cut(geometry.in_channels, out.channel_parts_, out.part_channels_);
  const int64_t wider = std::max(out.part_outputs_, out.part_channels_);
  HAI_TRY(out.tiles_, WinogradTiles::make(geometry, std::min(kBlockBytes / (kTaps * wider * 4), kMostTiles), isa));
  out.slices_ = std::clamp<int64_t>(kWantedTasks / (out.output_parts_ * out.channel_parts_), 1, kWantedTasks);
  out.scratch_.inputs = align_up(kTaps * out.part_outputs_ * out.part_channels_ * 4, 64);
  out.scratch_.gradients =
      out.scratch_.inputs + align_up(kTaps * out.tiles_.tap_stride(out.part_channels_) * 4 + kSlackBytes, 64);
  out.scratch_.total = out.scratch_.gradients + align_up(kTaps * out.tiles_.tap_stride(out.part_outputs_) * 4, 64);
  return out;
}

WinogradWeightSums::Part WinogradWeightSums::part(int64_t number) const {
  Part out = {};
  out.first_output = number / channel_parts_ * part_outputs_;
  out.outputs = std::min(part_outputs_, geometry_.out_channels - out.first_output);
  out.first_channel = number % channel_parts_ * part_channels_;
  out.channels = std::min(part_channels_, geometry_.in_channels - out.first_channel);
  return out;
}

void WinogradWeightSums::run(const float* x, const float* dy, int64_t images, float* dw, std::byte* scratch,
                             ThreadPool& threads) const {
  const int64_t units = tiles_.unit_count(images);
  const int64_t parts = output_parts_ * channel_parts_;
  float* slices = slices_ == 1 ? dw : reinterpret_cast<float*>(scratch);
  threads.parallel(parts * slices_, [&](int64_t task, int thread) {
    const int64_t slice = task / parts;
    run_part(part(task % parts), slice * units / slices_, (slice + 1) * units / slices_, x, dy,
             slices + slice * weights(), scratch + slice_bytes() + thread * scratch_.total);
  });
  if (slices_ > 1) add_slices(slices, slices_, weights(), dw, threads);
}

// Units [begin, end).
void WinogradWeightSums::run_part(const Part& part, int64_t begin, int64_t end, const float* x, const float* dy,
                                  float* dw, std::byte* scratch) const {
  auto* inputs = reinterpret_cast<float*>(scratch + scratch_.inputs);
  auto* gradients = reinterpret_cast<float*>(scratch + scratch_.gradients);
  auto* sums = reinterpret_cast<float*>(scratch + scratch_.sums);
  if (begin >= end) std::fill_n(sums, kTaps * part.outputs * part.channels, 0.0F);
  for (int64_t first = begin; first < end; first += tiles_.units_a_block()) {
    int64_t tiles = 0;
    for (int64_t i = first; i < std::min(end, first + tiles_.units_a_block()); ++i) {
      const WinogradTiles::Unit unit = tiles_.unit(i);
      tiles_.transform_input(unit, x, part.first_channel, part.channels, inputs + tiles * part.channels);
      transform_gradient(unit, part, dy, gradients + tiles * part.outputs);
      tiles += unit.tiles;
    }
    add_products(part, tiles, first == begin, scratch);
  }
  hai_winograd_weight_sums w = {};
  w.sums = sums;
  w.sum_tap_stride = part.outputs * part.channels;
  w.sum_row_stride = part.channels;
  w.rows = part.outputs;
  w.cols = part.channels;
  w.tap_stride = geometry_.in_channels;
  w.row_stride = 9 * geometry_.in_channels;
  w.out = dw + part.first_output * w.row_stride + part.first_channel;
  hai_winograd_weight_sums_for(isa_)(&w);
}

void WinogradWeightSums::transform_gradient(const WinogradTiles::Unit& unit, const Part& part, const float* dy,
                                            float* to) const {
  const ConvolutionGeometry& g = geometry_;
  hai_winograd_gradient_rows w = {};
  const float* row = dy + (((unit.image * g.out_rows + 2 * unit.row) * g.out_cols) + 2 * unit.first) * g.out_channels +
                     part.first_output;
  w.rows[0] = row;
  w.rows[1] = 2 * unit.row + 1 < g.out_rows ? row + g.out_cols * g.out_channels : tiles_.zeros();
  w.out_cols = g.out_cols - 2 * unit.first;
  w.channels = w.tile_stride = part.outputs;
  w.pixel_stride = g.out_channels;
  w.tiles = unit.tiles;
  w.out = to;
  w.tap_stride = tiles_.tap_stride(part.outputs);
  hai_winograd_gradient_rows_for(isa_)(&w);
}

void WinogradWeightSums::add_products(const Part& part, int64_t tiles, bool first, std::byte* scratch) const {
  const int64_t tile_rows = ceil_div(part.outputs, ceil_div(part.outputs, tile_->mr));  // even: short tiles hide less
  hai_outer_f32 tile = {};
  tile.a_stride = part.outputs;
  tile.b_stride = tile.out_stride = part.channels;
  tile.count = tiles;
  tile.padded = 1;
  tile.accumulate = first ? 0 : 1;
  for (int64_t tap = 0; tap < kTaps; ++tap) {
    const float* a = reinterpret_cast<float*>(scratch + scratch_.gradients) + tap * tiles_.tap_stride(part.outputs);
    const float* b = reinterpret_cast<float*>(scratch + scratch_.inputs) + tap * tiles_.tap_stride(part.channels);
    float* out = reinterpret_cast<float*>(scratch + scratch_.sums) + tap * part.outputs * part.channels;
    for (int64_t j = 0; j < part.channels; j += tile_->nr) {
      tile.cols = static_cast<int32_t>(std::min<int64_t>(tile_->nr, part.channels - j));
      tile.b = b + j;
      for (int64_t i = 0; i < part.outputs; i += tile_rows) {
        tile.rows = static_cast<int32_t>(std::min(tile_rows, part.outputs - i));
        tile.a = a + i;
        tile.out = out + i * part.channels + j;
        kernel_(&tile);
      }
    }
  }
}

}  // namespace hai::cpu

// Cutting the image into tasks, and the products between the transforms.
//
// A task's transformed inputs are at most kInputBytes, but for images of very many channels: there a product needs
// some rows to be worth reading its weights for.
#include "devices/cpu/train/winograd_product.h"

#include <algorithm>

#include "base/checked.h"
#include "devices/cpu/exec/kernel_dispatch.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_winograd_output_rows, void, (const hai_winograd_output_rows*));
HAI_KERNEL_FAMILY(hai_winograd_weights, void, (const hai_winograd_weights*));

constexpr int64_t kTaps = kWinogradTaps;
constexpr int64_t kInputBytes = 256 * 1024;  // of a task
constexpr int64_t kLeastTiles = 56;
constexpr int64_t kMostTiles = 224;

}  // namespace

Result<WinogradProduct> WinogradProduct::make(const ConvolutionGeometry& geometry, Isa isa) {
  WinogradProduct out;
  out.geometry_ = geometry;
  out.isa_ = isa;
  out.kernel_ = gemm_f32_for(isa)();
  const int64_t nr = out.kernel_->nr;
  out.panels_ = ceil_div(geometry.out_channels, nr);
  HAI_TRY(out.no_bias_, AlignedBuffer::zeros(nr * 4));
  const int64_t most = std::clamp(kInputBytes / (kTaps * geometry.in_channels * 4), kLeastTiles, kMostTiles);
  HAI_TRY(out.tiles_, WinogradTiles::make(geometry, most, isa));
  out.scratch_.sums = align_up(kTaps * out.tiles_.tap_stride(geometry.in_channels) * 4, 64);
  out.scratch_.total = out.scratch_.sums + align_up(kTaps * out.tiles_.tap_stride(nr) * 4, 64);
  return out;
}

int64_t WinogradProduct::packed_panel_bytes() const { return kTaps * geometry_.in_channels * kernel_->nr * 4; }

int32_t WinogradProduct::columns(int64_t panel) const {
  return static_cast<int32_t>(std::min<int64_t>(kernel_->nr, geometry_.out_channels - panel * kernel_->nr));
}

void WinogradProduct::transform_panel(const float* panel, int64_t number, std::byte* packed) const {
  hai_winograd_weights w = {};
  w.taps = panel;
  w.count = w.tap_stride = geometry_.in_channels * kernel_->nr;
  w.out = reinterpret_cast<float*>(packed + number * packed_panel_bytes());
  hai_winograd_weights_for(isa_)(&w);
}

void WinogradProduct::run(const Clamp& clamp, const Convolution::Buffers& buffers, ThreadPool& threads) const {
  const int64_t units = tiles_.unit_count(buffers.images);
  const auto* x = reinterpret_cast<const float*>(buffers.x);
  const int64_t depth = geometry_.in_channels;
  threads.parallel(ceil_div(units, tiles_.units_a_block()), [&](int64_t task, int thread) {
    std::byte* scratch = buffers.scratch + thread * scratch_.total;
    const int64_t begin = task * tiles_.units_a_block();
    const int64_t end = std::min(units, begin + tiles_.units_a_block());
    int64_t tiles = 0;
    for (int64_t i = begin; i < end; ++i) {
      const Unit what = tiles_.unit(i);
      tiles_.transform_input(what, x, 0, depth, reinterpret_cast<float*>(scratch + scratch_.inputs) + tiles * depth);
      tiles += what.tiles;
    }
    for (int64_t panel = 0; panel < panels_; ++panel) {
      multiply(panel, tiles, buffers.panels, scratch);
      const auto* sums = reinterpret_cast<const float*>(scratch + scratch_.sums);
      for (int64_t i = begin; i < end; ++i) {
        const Unit what = tiles_.unit(i);
        transform_output(what, panel, sums, clamp, buffers);
        sums += what.tiles * kernel_->nr;
      }
    }
  });
}

void WinogradProduct::multiply(int64_t panel, int64_t tiles, const std::byte* packed, std::byte* scratch) const {
  const int64_t nr = kernel_->nr;
  const int64_t depth = geometry_.in_channels;
  const int64_t share = ceil_div(tiles, ceil_div(tiles, kernel_->mr));  // even: short tiles hide less latency
  const void* segment = nullptr;
  hai_gemm_f32_tile product = {};
  product.in.segments = &segment;
  product.in.segment_count = 1;
  product.in.segment_steps = depth;
  product.in.row_stride_bytes = depth * 4;
  product.in.cols = columns(panel);
  product.bias = no_bias_.as<float>();
  product.lo = -std::numeric_limits<float>::infinity();
  product.hi = std::numeric_limits<float>::infinity();
  product.out_stride = nr;
  for (int64_t tap = 0; tap < kTaps; ++tap) {
    product.in.panel = packed + panel * packed_panel_bytes() + tap * depth * nr * 4;
    const auto* inputs = reinterpret_cast<const float*>(scratch + scratch_.inputs) + tap * tiles_.tap_stride(depth);
    auto* sums = reinterpret_cast<float*>(scratch + scratch_.sums) + tap * tiles_.tap_stride(nr);
    for (int64_t first = 0; first < tiles; first += share) {
      product.in.rows = static_cast<int32_t>(std::min(share, tiles - first));
      segment = inputs + first * depth;
      product.out = sums + first * nr;
      kernel_->run_f32(&product);
    }
  }
}

void WinogradProduct::transform_output(const Unit& unit, int64_t panel, const float* sums, const Clamp& clamp,
                                       const Convolution::Buffers& buffers) const {
  const ConvolutionGeometry& g = geometry_;
  const int64_t nr = kernel_->nr;
  hai_winograd_output_rows w = {};
  w.sums = sums;
  w.tap_stride = tiles_.tap_stride(nr);
  w.tile_stride = nr;
  w.tiles = unit.tiles;
  w.cols = columns(panel);
  w.rows = static_cast<int32_t>(std::min<int64_t>(2, g.out_rows - 2 * unit.row));
  w.bias = buffers.bias + panel * nr;
  w.lo = clamp.low;
  w.hi = clamp.high;
  w.row_stride = g.out_cols * g.out_channels;
  w.pixel_stride = g.out_channels;
  w.out_cols = g.out_cols - 2 * unit.first;
  w.out = reinterpret_cast<float*>(buffers.y) + (unit.image * g.out_rows + 2 * unit.row) * w.row_stride +
          2 * unit.first * g.out_channels + panel * nr;
  hai_winograd_output_rows_for(isa_)(&w);
}

}  // namespace hai::cpu

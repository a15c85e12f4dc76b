// Blocks of pixels, a task each, and the panels of a block.
//
// Blocks are cut by the shapes alone, each pixel is computed alone: results depend on neither blocks nor threads.
// A block's result waits in scratch until all its panels are there, since a line belongs to two of them.
#include "devices/cpu/train/pointwise_product.h"

#include <algorithm>

#include "base/checked.h"
#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/train/kernels/pointwise.h"
#include "devices/cpu/train/touch.h"

namespace hai::cpu {
namespace {

HAI_KERNEL_FAMILY(hai_pointwise_f32, void, (const hai_pointwise*));
HAI_KERNEL_FAMILY(hai_stream_copy_f32, void, (const float*, float*, int64_t));

constexpr int64_t kBlockBytes = 192 * 1024;  // of the image and of the result
constexpr int64_t kPixelStep = 112;          // whole tiles and whole lines
constexpr int64_t kLineBytes = 64;
constexpr int64_t kMostChannels = 4096;

}  // namespace

bool PointwiseProduct::fits(const ConvolutionGeometry& g) {
  return g.kernel_rows == 1 && g.kernel_cols == 1 && g.stride_rows == 1 && g.stride_cols == 1 && g.pad_top == 0 &&
         g.pad_left == 0 && g.groups == 1 && g.in_rows == g.out_rows && g.in_cols == g.out_cols &&
         g.out_row_step == 1 && g.out_col_step == 1 && g.store_rows == g.out_rows && g.store_cols == g.out_cols &&
         g.in_channels <= kMostChannels && g.out_channels <= kMostChannels;
}

PointwiseProduct::PointwiseProduct(const ConvolutionGeometry& geometry, Isa isa)
    : geometry_(geometry), isa_(isa), columns_(gemm_f32_for(isa)()->nr) {
  const int64_t pixel_bytes = std::max(geometry.in_channels, geometry.out_channels) * 4;
  block_pixels_ = align_up(std::max<int64_t>(1, kBlockBytes / pixel_bytes), kPixelStep);
}

int64_t PointwiseProduct::scratch_bytes_per_thread() const {
  return align_up(block_pixels_ * geometry_.out_channels * 4, kLineBytes);
}

bool PointwiseProduct::is_large(int64_t images) const {
  return images * pixels() * std::max(geometry_.in_channels, geometry_.out_channels) * 4 >= kTouchBytes;
}

void PointwiseProduct::run(float low, float high, const Convolution::Buffers& buffers, ThreadPool& threads) const {
  const int64_t depth = geometry_.in_channels;
  const int64_t outputs = geometry_.out_channels;
  const int64_t all = buffers.images * pixels();
  const auto* x = reinterpret_cast<const float*>(buffers.x);
  auto* y = reinterpret_cast<float*>(buffers.y);
  const bool streams =
      outputs > columns_ && all * outputs * 4 >= kFarBytes && reinterpret_cast<uintptr_t>(y) % kLineBytes == 0;
  threads.parallel(ceil_div(all, block_pixels_), [&](int64_t task, int thread) {
    const int64_t first = task * block_pixels_;
    const int64_t count = std::min(block_pixels_, all - first);
    float* to = y + first * outputs;
    const bool staged = streams && count * outputs * 4 % kLineBytes == 0;
    float* out = staged ? reinterpret_cast<float*>(buffers.scratch + thread * scratch_bytes_per_thread()) : to;
    hai_pointwise p = {};
    p.x = x + first * depth;
    p.pixels = count;
    p.depth = depth;
    p.lo = low;
    p.hi = high;
    p.out_stride = outputs;
    for (int64_t column = 0; column < outputs; column += columns_) {
      p.panel = reinterpret_cast<const float*>(buffers.panels) + column * depth;
      p.bias = buffers.bias + column;
      p.cols = static_cast<int32_t>(std::min(columns_, outputs - column));
      p.out = out + column;
      hai_pointwise_f32_for(isa_)(&p);
    }
    if (staged) hai_stream_copy_f32_for(isa_)(out, to, count * outputs);
  });
}

}  // namespace hai::cpu

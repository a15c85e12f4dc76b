// Choosing and packing a depthwise filter for dot products, and copying the stripe of rows that a call reads.
//
// Bytes are flipped to the kernel's kind (q + 128 for unsigned, q - 128 for signed) while the stripe is copied; the
// bias takes back what that adds to a sum.
#include "devices/cpu/exec/depthwise_dots.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "devices/cpu/exec/product_kernels.h"

namespace hai::cpu {
namespace {

constexpr int64_t kMostQuads = 2;
constexpr int64_t kStripeBytes = 20 * 1024;
constexpr int64_t kLeastCols = 8;
constexpr float kMostSteps = 1073741824.0F;  // 2^30: rounding to i32 stays in range

bool suits(const DepthwiseFilter& filter, const ProductEpilogue& epilogue, std::span<const int64_t> largest_sums,
           const hai_depthwise_i8_kernel& kernel) {
  const ConvolutionGeometry& g = filter.geometry;
  if (!epilogue.stores_in_kernel() || g.in_channels < kernel.channels) return false;
  if (g.dilation_rows != 1 || g.dilation_cols != 1) return false;
  const int64_t span = (g.stride_cols == 1 ? 1 : 0) + g.kernel_cols;
  if (ceil_div(span, 4) > kMostQuads) return false;
  const bool bytes = std::ranges::all_of(filter.weights, [](float w) { return w >= -128.0F && w <= 127.0F; });
  for (size_t c = 0; c < largest_sums.size(); ++c) {
    if (static_cast<float>(largest_sums[c]) * epilogue.multiplier[c] >= kMostSteps) return false;
  }
  return bytes;
}

}  // namespace

Result<std::optional<DepthwiseDots>> DepthwiseDots::make(const DepthwiseFilter& filter, const ProductEpilogue& epilogue,
                                                         std::span<const int64_t> largest_sums, Isa isa) {
  const hai_depthwise_i8_kernel* kernel = depthwise_i8_for(isa)();
  if (kernel == nullptr || !suits(filter, epilogue, largest_sums, *kernel)) return std::optional<DepthwiseDots>();
  const ConvolutionGeometry& g = filter.geometry;
  DepthwiseDots out;
  out.kernel_ = kernel;
  out.geometry_ = g;
  out.isa_ = isa;
  const bool flips = filter.x_signed != (kernel->left_signed != 0);
  out.x_flip_ = flips ? 0x80 : 0;
  out.x_padding_ = static_cast<uint8_t>(static_cast<uint8_t>(filter.x_zero_point) ^ out.x_flip_);
  hai_depthwise_i8& d = out.call_;
  d.channels = g.in_channels;
  d.kernel_rows = g.kernel_rows;
  d.stride_rows = g.stride_rows;
  d.stride_cols = g.stride_cols;
  d.pixels = g.stride_cols == 1 ? 2 : 1;
  d.quads = static_cast<int32_t>(ceil_div(d.pixels - 1 + g.kernel_cols, 4));
  d.out_row_bytes = g.out_cols * g.out_channels;
  out.stripe_rows_ = (kernel->rows_at_once - 1) * g.stride_rows + g.kernel_rows;
  const int64_t most = std::max(kStripeBytes / (out.stripe_rows_ * g.in_channels * g.stride_cols), kLeastCols);
  out.call_cols_ = align_up(ceil_div(g.out_cols, ceil_div(g.out_cols, most)), d.pixels);
  out.stripe_cols_ = (out.call_cols_ - d.pixels) * g.stride_cols + 4 * int64_t{d.quads};
  d.row_bytes = out.stripe_cols_ * g.in_channels;
  // Bytes beyond 127 are those of a u8 output.
  const auto lo = static_cast<int32_t>(epilogue.lo) + epilogue.zero_point;
  const auto hi = static_cast<int32_t>(epilogue.hi) + epilogue.zero_point;
  const int32_t offset = hi > 127 ? 128 : 0;
  d.y_flip = offset != 0 ? 0x80 : 0;
  d.zero_point = epilogue.zero_point - offset;
  d.lo = static_cast<int8_t>(lo - offset);
  d.hi = static_cast<int8_t>(hi - offset);
  HAI_TRY_STATUS(out.pack(filter, epilogue));
  return std::optional<DepthwiseDots>(std::move(out));
}

Status DepthwiseDots::pack(const DepthwiseFilter& filter, const ProductEpilogue& epilogue) {
  const ConvolutionGeometry& g = geometry_;
  const int64_t block = kernel_->channels;
  const int64_t blocks = ceil_div(g.in_channels, block);
  const int64_t vectors = g.kernel_rows * call_.pixels * call_.quads;
  HAI_TRY(weights_, AlignedBuffer::zeros(blocks * vectors * block * 4));
  HAI_TRY(bias_, AlignedBuffer::zeros(blocks * block * 4));
  HAI_TRY(multiplier_, AlignedBuffer::zeros(blocks * block * 4));
  const int32_t flipped = x_flip_ == 0 ? 0 : kernel_->left_signed != 0 ? -128 : 128;  // what a flip adds to q
  int8_t* weights = weights_.as<int8_t>().data();
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t first = std::min(b * block, g.in_channels - block);
    for (int32_t place = 0; place < kernel_->channels; ++place) {
      const int64_t c = first + hai_depthwise_i8_channel(place, kernel_->channels);
      int32_t sum = 0;
      for (int64_t k = 0; k < g.kernel_rows; ++k) {
        for (int64_t t = 0; t < g.kernel_cols; ++t) {
          const auto weight =
              static_cast<int8_t>(filter.weights[static_cast<size_t>((k * g.kernel_cols + t) * filter.padded + c)]);
          sum += weight;
          for (int64_t pixel = 0; pixel < call_.pixels; ++pixel) {
            const int64_t tap = t + pixel;
            const int64_t vector = ((b * g.kernel_rows + k) * call_.pixels + pixel) * call_.quads + tap / 4;
            weights[(vector * block + place) * 4 + tap % 4] = weight;
          }
        }
      }
      const auto at = static_cast<size_t>(b * block + place);
      bias_.as<int32_t>()[at] = epilogue.bias[static_cast<size_t>(c)] - flipped * sum;
      multiplier_.as<float>()[at] = epilogue.multiplier[static_cast<size_t>(c)];
    }
  }
  return {};
}

void DepthwiseDots::run(const std::byte* image, int64_t row, int64_t count, std::byte* scratch, std::byte* out) const {
  const ConvolutionGeometry& g = geometry_;
  hai_stripe stripe = {};
  stripe.image = image;
  stripe.image_rows = g.in_rows;
  stripe.image_cols = g.in_cols;
  stripe.channels = g.in_channels;
  stripe.first_row = row * g.stride_rows - g.pad_top;
  stripe.row_count = stripe_rows_;
  stripe.row_step = 1;
  stripe.col_count = stripe_cols_;
  stripe.col_step = 1;
  stripe.out = scratch;
  stripe.kind = HAI_STRIPE_BYTES;
  stripe.flip = x_flip_;
  stripe.padding = x_padding_;
  hai_depthwise_i8 d = call_;
  d.stripe = reinterpret_cast<const uint8_t*>(scratch);
  d.weights = weights_.as<int8_t>();
  d.bias = bias_.as<int32_t>();
  d.multiplier = multiplier_.as<float>();
  d.out_rows = count;
  for (int64_t col = 0; col < g.out_cols; col += call_cols_) {
    stripe.first_col = col * g.stride_cols - g.pad_left;
    stripe_copy_for(isa_)(&stripe);
    d.out = reinterpret_cast<uint8_t*>(out + col * g.out_channels);
    d.out_cols = std::min(call_cols_, g.out_cols - col);
    kernel_->run(&d);
  }
}

}  // namespace hai::cpu

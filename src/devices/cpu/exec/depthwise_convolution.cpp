// Packing a depthwise filter and walking the output rows.
//
// Tasks are a few rows each, so that the rows they share stay in the cache; every output element is one chain of
// multiply-adds over the window, whatever the task. Rows above and below the image are read from one idle row.
#include "devices/cpu/exec/depthwise_convolution.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/checked.h"

namespace hai::cpu {
namespace {

constexpr int64_t kExactBound = int64_t{1} << 24;
constexpr int64_t kExactWideBound = int64_t{1} << 53;
constexpr int64_t kNarrowSumBound = int64_t{1} << 31;
constexpr int64_t kFinishBytes = 16 * 1024;
constexpr int64_t kTasksPerThread = 4;

}  // namespace

Result<DepthwiseConvolution> DepthwiseConvolution::make(const ConvolutionGeometry& geometry,
                                                        const ConvolutionWeights& weights, DataType x_dtype,
                                                        int32_t x_zero_point, Isa isa) {
  DepthwiseConvolution out;
  out.geometry_ = geometry;
  out.isa_ = isa;
  out.integer_ = is_integer(x_dtype);
  out.x_signed_ = x_dtype == DataType::kI8;
  out.x_zero_point_ = x_zero_point;
  out.wide_ = x_dtype == DataType::kI16;
  out.element_bytes_ = out.wide_ ? 2 : out.integer_ ? 1 : 4;
  const int64_t channels = geometry.in_channels;
  const int64_t taps = geometry.kernel_rows * geometry.kernel_cols;
  out.padded_ = align_up(channels, 16);
  HAI_TRY(out.packed_, AlignedBuffer::zeros(taps * out.padded_ * (out.wide_ ? 2 : 4)));
  HAI_TRY(out.idle_row_, AlignedBuffer::zeros(geometry.in_cols * channels * out.element_bytes_));
  HAI_TRY(out.bias_, AlignedBuffer::zeros(out.padded_ * (out.wide_ ? 8 : 4)));
  if (out.wide_) {
    for (int16_t& element : out.idle_row_.as<int16_t>()) element = static_cast<int16_t>(x_zero_point);
  } else if (out.integer_) {
    std::memset(out.idle_row_.data(), x_zero_point & 0xff, static_cast<size_t>(out.idle_row_.size_bytes()));
  }
  if (out.integer_) {
    out.channel_weights_.assign(static_cast<size_t>(channels), {});
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) {
      const auto at = static_cast<size_t>(t * out.padded_ + c);
      if (!out.integer_) {
        out.packed_.as<float>()[at] = weights.f32[c * taps + t];
        continue;
      }
      const int weight = weights.i8 != nullptr ? weights.i8[c * taps + t] : weights.i16[c * taps + t];
      if (out.wide_) {
        out.packed_.as<int16_t>()[at] = static_cast<int16_t>(weight);
      } else {
        out.packed_.as<float>()[at] = static_cast<float>(weight);
      }
      ChannelWeights& channel = out.channel_weights_[static_cast<size_t>(c)];
      channel.sum += weight;
      channel.absolute_sum += std::abs(weight);
    }
  }
  const int64_t pixel_bytes = out.padded_ * 4;
  out.finish_cols_ = std::clamp<int64_t>(kFinishBytes / pixel_bytes, 1, geometry.out_cols);
  out.scratch_bytes_ = align_up(geometry.kernel_rows * static_cast<int64_t>(sizeof(void*)), 64) +
                       align_up(out.finish_cols_ * pixel_bytes, 64);
  return out;
}

std::vector<int64_t> DepthwiseConvolution::channel_positions() const {
  std::vector<int64_t> out(static_cast<size_t>(geometry_.out_channels));
  for (size_t c = 0; c < out.size(); ++c) out[c] = static_cast<int64_t>(c);
  return out;
}

int64_t DepthwiseConvolution::largest_sum(size_t c, int64_t bias) const {
  return std::abs(bias) + channel_weights_[c].absolute_sum * (wide_ ? 32768 : x_signed_ ? 128 : 255);
}

bool DepthwiseConvolution::is_exact(const ProductEpilogue& epilogue) const {
  for (size_t c = 0; c < channel_weights_.size(); ++c) {
    const int64_t bias = wide_ ? epilogue.bias_i64[c] : epilogue.bias[c];
    if (largest_sum(c, bias) >= (wide_ ? kExactWideBound : kExactBound)) return false;
  }
  return true;
}

Status DepthwiseConvolution::narrow_weights() {
  const auto count = static_cast<size_t>(geometry_.kernel_rows * geometry_.kernel_cols * padded_);
  HAI_TRY(AlignedBuffer narrow, AlignedBuffer::zeros(static_cast<int64_t>(count) * 4));
  for (size_t i = 0; i < count; ++i) narrow.as<int32_t>()[i] = static_cast<uint16_t>(packed_.as<int16_t>()[i]);
  packed_ = std::move(narrow);
  return {};
}

Status DepthwiseConvolution::choose_dots(const ProductEpilogue& epilogue) {
  std::vector<int64_t> largest(channel_weights_.size());
  for (size_t c = 0; c < largest.size(); ++c) largest[c] = largest_sum(c, epilogue.bias[c]);
  const auto count = static_cast<size_t>(geometry_.kernel_rows * geometry_.kernel_cols * padded_);
  const std::span<const float> weights(std::as_const(packed_).as<float>(), count);
  HAI_TRY(dots_, DepthwiseDots::make({geometry_, weights, padded_, x_signed_, x_zero_point_}, epilogue, largest, isa_));
  if (!dots_) return {};
  packed_ = {};
  idle_row_ = {};
  bias_ = {};
  scratch_bytes_ = align_up(dots_->scratch_bytes(), 64);
  return {};
}

Status DepthwiseConvolution::take_bias(ProductEpilogue& epilogue) {
  const auto count = static_cast<size_t>(padded_);
  if (wide_) {
    narrow_sums_ = geometry_.in_channels >= HAI_DEPTHWISE_S16_LEAST_CHANNELS;
    for (size_t c = 0; c < channel_weights_.size() && narrow_sums_; ++c)
      narrow_sums_ = largest_sum(c, epilogue.bias_i64[c]) < kNarrowSumBound;
    if (narrow_sums_) HAI_TRY_STATUS(narrow_weights());
    for (size_t c = 0; c < count; ++c) {
      if (narrow_sums_) {
        bias_.as<int32_t>()[c] = static_cast<int32_t>(epilogue.bias_i64[c]);
      } else {
        bias_.as<double>()[c] = static_cast<double>(epilogue.bias_i64[c]);
      }
    }
    epilogue.take_bias_out();
    return {};
  }
  if (integer_) HAI_TRY_STATUS(choose_dots(epilogue));
  if (dots_) {
    epilogue.take_bias_out();
    return {};
  }
  float* bias = bias_.as<float>().data();
  for (size_t c = 0; c < count; ++c) {
    bias[c] = integer_ ? static_cast<float>(epilogue.bias[c]) : epilogue.bias_f32[c];
  }
  if (integer_) epilogue.take_bias_out();
  return {};
}

void DepthwiseConvolution::run(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers,
                               ThreadPool& threads) const {
  const int64_t rows = buffers.images * geometry_.out_rows;
  const int64_t wanted = threads.thread_count() == 1 ? 1 : kTasksPerThread * threads.thread_count();
  const int64_t step = dots_ ? dots_->rows_at_once() : 1;
  const int64_t rows_a_task = align_up(std::max<int64_t>(1, rows / wanted), step);
  threads.parallel(ceil_div(rows, rows_a_task), [&](int64_t task, int thread) {
    const int64_t end = std::min(rows, (task + 1) * rows_a_task);
    for (int64_t row = task * rows_a_task; row < end;) {
      const int64_t first = row % geometry_.out_rows;
      const int64_t count = std::min({step, end - row, geometry_.out_rows - first});
      run_rows(epilogue, buffers, buffers.scratch + thread * scratch_bytes_, row / geometry_.out_rows, first, count);
      row += count;
    }
  });
}

void DepthwiseConvolution::run_rows(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers,
                                    std::byte* scratch, int64_t image, int64_t row, int64_t count) const {
  if (!dots_) return run_row(epilogue, buffers, scratch, image, row);
  const ConvolutionGeometry& g = geometry_;
  std::byte* out = buffers.y + (image * g.out_rows + row) * g.out_cols * g.out_channels;
  dots_->run(buffers.x + image * g.in_rows * g.in_cols * g.in_channels, row, count, scratch, out);
  epilogue.look_up(out, g.out_channels, count * g.out_cols, g.out_channels);
}

void DepthwiseConvolution::run_row(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers,
                                   std::byte* scratch, int64_t image, int64_t row) const {
  const ConvolutionGeometry& g = geometry_;
  const auto** rows = reinterpret_cast<const void**>(scratch);
  std::byte* tile = scratch + align_up(g.kernel_rows * static_cast<int64_t>(sizeof(void*)), 64);
  const int64_t row_bytes = g.in_cols * g.in_channels * element_bytes_;
  for (int64_t k = 0; k < g.kernel_rows; ++k) {
    const int64_t y = row * g.stride_rows - g.pad_top + k * g.dilation_rows;
    const bool inside = y >= 0 && y < g.in_rows;
    rows[k] = inside ? buffers.x + (image * g.in_rows + y) * row_bytes : idle_row_.data();
  }
  if (wide_) return run_wide_row(epilogue, buffers, rows, (image * g.out_rows + row) * g.out_cols);
  hai_depthwise d = {};
  d.rows = rows;
  d.idle = idle_row_.data();
  d.image_cols = g.in_cols;
  d.channels = g.in_channels;
  d.channels_padded = padded_;
  d.kernel_rows = g.kernel_rows;
  d.kernel_cols = g.kernel_cols;
  d.stride_cols = g.stride_cols;
  d.dilation_cols = g.dilation_cols;
  d.pad_left = g.pad_left;
  d.weights = packed_.as<float>();
  d.bias = bias_.as<float>();
  d.lo = epilogue.lo;
  d.hi = epilogue.hi;
  d.out_stride = g.out_channels;
  d.multiplier = epilogue.multiplier.data();
  d.input_signed = x_signed_ ? 1 : 0;
  d.zero_point = epilogue.zero_point;
  const auto kernel = integer_ ? depthwise_s8_for(isa_) : depthwise_f32_for(isa_);
  const bool stores = epilogue.stores_in_kernel();
  const int64_t step = stores ? g.out_cols : finish_cols_;
  for (int64_t col = 0; col < g.out_cols; col += step) {
    d.first_col = col;
    d.col_count = std::min(step, g.out_cols - col);
    const int64_t first = ((image * g.out_rows + row) * g.out_cols + col) * g.out_channels;
    std::byte* out = buffers.y + first * epilogue.output_element_bytes();
    const std::byte* residual = buffers.residual_at(first, epilogue);
    const auto pixels = static_cast<int32_t>(d.col_count);
    const auto channels = static_cast<int32_t>(g.out_channels);
    d.sums = nullptr;
    d.out = out;
    if (!stores && integer_) d.sums = reinterpret_cast<int32_t*>(tile);
    if (!stores && !integer_) d.out = tile;
    kernel(&d);
    if (stores) {
      epilogue.look_up(out, g.out_channels, pixels, channels);
      continue;
    }
    if (integer_) {
      epilogue.finish_i8(d.sums, padded_, pixels, channels, 0, residual, g.out_channels, out, g.out_channels);
    } else {
      epilogue.finish_f32(reinterpret_cast<float*>(tile), g.out_channels, pixels, channels,
                          reinterpret_cast<const float*>(residual), g.out_channels, reinterpret_cast<float*>(out),
                          g.out_channels);
    }
  }
}

void DepthwiseConvolution::run_wide_row(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers,
                                        const void* const* rows, int64_t first_pixel) const {
  const ConvolutionGeometry& g = geometry_;
  const int64_t first = first_pixel * g.out_channels;
  std::byte* out = buffers.y + first * epilogue.output_element_bytes();
  hai_depthwise_s16 d = {};
  d.rows = rows;
  d.idle = idle_row_.data();
  d.image_cols = g.in_cols;
  d.channels = g.in_channels;
  d.channels_padded = padded_;
  d.kernel_rows = g.kernel_rows;
  d.kernel_cols = g.kernel_cols;
  d.stride_cols = g.stride_cols;
  d.dilation_cols = g.dilation_cols;
  d.pad_left = g.pad_left;
  d.col_count = g.out_cols;
  if (narrow_sums_) {
    d.weights_s32 = packed_.as<int32_t>();
    d.bias_s32 = bias_.as<int32_t>();
  } else {
    d.weights = packed_.as<int16_t>();
    d.bias = bias_.as<double>();
  }
  d.multiplier = epilogue.multiplier.data();
  d.lo = static_cast<double>(epilogue.lo);
  d.hi = static_cast<double>(epilogue.hi);
  d.zero_point = epilogue.zero_point;
  d.out = epilogue.to_float ? nullptr : reinterpret_cast<int16_t*>(out);
  d.out_f32 = epilogue.to_float ? reinterpret_cast<float*>(out) : nullptr;
  d.out_stride = g.out_channels;
  depthwise_s16_for(isa_)(&d);
  const std::byte* residual = buffers.residual_at(first, epilogue);
  epilogue.finish_s16(out, g.out_channels, g.out_cols, static_cast<int32_t>(g.out_channels), residual, g.out_channels);
}

}  // namespace hai::cpu

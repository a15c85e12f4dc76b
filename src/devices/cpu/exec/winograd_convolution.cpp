// Packing taps into panels, cutting the tiles into tasks, and calling transforms and products.
//
// Integer products read V as the micro-kernel wants its left operand (kernels/gemm.h). Where that is V + 128, the sums
// have 128 times the sum of a tap's weights too much, which passes the output transform like everything else: it is
// taken out together with the bias, by a bias for each of the tile * tile positions. Sums go through i32 where weights
// and bias prove that they fit, else through f64.
#include "devices/cpu/exec/winograd_convolution.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "devices/cpu/exec/product_kernels.h"

namespace hai::cpu {
namespace {

constexpr int64_t kInputBytes = 256 * 1024;  // transformed, of a task
constexpr int64_t kMostTiles = 48;
constexpr int64_t kTasksPerThread = 3;
constexpr int64_t kMostColumns = 64;  // of winograd_output_*
constexpr int64_t kLine = 64;

template <typename T>
void pack_panel(const T* weights, int64_t channels, int64_t output_stride, int64_t columns, int64_t nr, int64_t k_group,
                T* to) {
  for (int64_t column = 0; column < columns; ++column) {
    for (int64_t c = 0; c < channels; ++c) {
      to[(c / k_group * nr + column) * k_group + c % k_group] = weights[column * output_stride + c];
    }
  }
}

}  // namespace

Result<WinogradConvolution> WinogradConvolution::make(const WinogradGeometry& geometry, const WinogradShifts& shifts,
                                                      const ConvolutionWeights& weights, DataType x_dtype,
                                                      int32_t x_zero_point, Isa isa) {
  WinogradConvolution out;
  out.geometry_ = geometry;
  out.shifts_ = shifts;
  out.isa_ = isa;
  out.integer_ = is_integer(x_dtype);
  out.x_dtype_ = x_dtype;
  out.zero_point_ = x_zero_point;
  out.kernel_ = out.integer_ ? gemm_s8_s8_s32_for(isa)() : gemm_f32_for(isa)();
  if (out.integer_) {
    out.x_element_bytes_ = 1;
    out.left_element_bytes_ = out.kernel_->left == HAI_GEMM_LEFT_S16 ? 2 : 1;
  }
  HAI_CHECK(out.kernel_->nr <= kMostColumns);
  HAI_TRY_STATUS(out.pack(weights));
  HAI_TRY_STATUS(out.choose_tiles());
  return out;
}

Status WinogradConvolution::pack(const ConvolutionWeights& weights) {
  const int64_t channels = geometry_.in_channels;
  const int64_t taps = geometry_.taps();
  const int64_t nr = kernel_->nr;
  const int64_t k_group = kernel_->k_group;
  panels_ = ceil_div(geometry_.out_channels, nr);
  steps_ = ceil_div(channels, k_group);
  row_bytes_ = steps_ * k_group * left_element_bytes_;
  panel_bytes_ = align_up(steps_ * k_group * nr * (integer_ ? 1 : 4), kLine);
  HAI_TRY(packed_, AlignedBuffer::zeros(taps * panels_ * panel_bytes_));
  HAI_TRY(no_bias_, AlignedBuffer::zeros(integer_ ? 0 : nr * 4));
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t panel = 0; panel < panels_; ++panel) {
      std::byte* to = packed_.data() + (tap * panels_ + panel) * panel_bytes_;
      const int64_t from = (panel * nr * taps + tap) * channels;
      if (integer_) {
        pack_panel(weights.i8 + from, channels, taps * channels, columns(panel), nr, k_group,
                   reinterpret_cast<int8_t*>(to));
      } else {
        pack_panel(weights.f32 + from, channels, taps * channels, columns(panel), nr, k_group,
                   reinterpret_cast<float*>(to));
      }
    }
  }
  if (!integer_) return {};
  weight_sums_.assign(static_cast<size_t>(geometry_.out_channels * taps), 0);
  weight_sizes_ = weight_sums_;
  for (size_t row = 0; row < weight_sums_.size(); ++row) {
    const int8_t* values = weights.i8 + static_cast<int64_t>(row) * channels;
    for (int64_t c = 0; c < channels; ++c) {
      weight_sums_[row] += values[c];
      weight_sizes_[row] += std::abs(values[c]);
    }
  }
  return {};
}

// As many tiles as the second cache holds transformed.
Status WinogradConvolution::choose_tiles() {
  const int64_t taps = geometry_.taps();
  const int64_t fit = kInputBytes / (taps * row_bytes_);
  most_tiles_ = std::clamp<int64_t>(fit / kernel_->mr * kernel_->mr, kernel_->mr, align_up(kMostTiles, kernel_->mr));
  const auto image = checked_mul(taps * geometry_.in_channels, integer_ ? int64_t{2} : int64_t{4});
  const auto inputs = checked_mul(taps * most_tiles_, row_bytes_);
  if (!image || !inputs || *image > (int64_t{1} << 30) || *inputs > (int64_t{1} << 30)) {
    return make_error(StatusCode::kUnsupported, "C041", "a tile of {} channels needs more scratch than a thread has",
                      geometry_.in_channels);
  }
  const int64_t sums = taps * most_tiles_ * kernel_->nr * 4;
  scratch_.image = 0;
  scratch_.inputs = align_up(*image, kLine);
  scratch_.sums = scratch_.inputs + align_up(*inputs + kLine, kLine);  // a step may read past the last row
  scratch_.results = scratch_.sums + align_up(sums, kLine);
  scratch_.total = scratch_.results + align_up(int64_t{16} * kernel_->nr * 4, kLine);
  return {};
}

std::vector<int64_t> WinogradConvolution::channel_positions() const {
  std::vector<int64_t> out(static_cast<size_t>(geometry_.out_channels));
  for (size_t o = 0; o < out.size(); ++o) out[o] = static_cast<int64_t>(o);
  return out;
}

Status WinogradConvolution::take_bias(const KernelContext& context, const int32_t* bias) {
  const auto taps = static_cast<size_t>(geometry_.taps());
  const auto positions = static_cast<size_t>(geometry_.tile * geometry_.tile);
  const auto padded = static_cast<size_t>(padded_channels());
  const int64_t added = integer_ && kernel_->left == HAI_GEMM_LEFT_U8 ? 128 : 0;
  bias_f64_.assign(positions * padded, 0.0);
  bool narrow = true;
  for (size_t o = 0; o < static_cast<size_t>(geometry_.out_channels); ++o) {
    const double own = bias == nullptr ? 0.0 : static_cast<double>(bias[o]);
    std::array<double, HAI_WINOGRAD_MAX_TAPS> largest{};
    std::array<double, HAI_WINOGRAD_MAX_TAPS> surplus{};
    for (size_t t = 0; t < taps; ++t) {
      largest[t] = static_cast<double>(weight_sizes_[o * taps + t] * 128);
      surplus[t] = static_cast<double>(weight_sums_[o * taps + t] * added) * hai_winograd_power(shifts_.exponents[t]);
    }
    const double bound =
        hai_winograd_sum_bound(geometry_.tile, largest.data(), shifts_.exponents.data()) + std::abs(own);
    // With the surplus a sum is at most three times as large before that is taken out.
    const double product = *std::max_element(largest.begin(), largest.end()) * 2.0;  // with V + 128
    if (product >= 2147483648.0) {
      return context.refuse(
          fmt::format("the products of a tap of channel {} may reach {}, more than 2^31", o, product));
    }
    if (3.0 * bound >= HAI_WINOGRAD_SUM_LIMIT) {
      return context.refuse(fmt::format("the sums of channel {} may reach {}, more than 2^53 / 3", o, bound));
    }
    narrow = narrow && bound < 2147483648.0;
    std::array<double, 16> moved{};
    hai_winograd_output_f64(geometry_.tile, surplus.data(), moved.data());
    for (size_t i = 0; i < positions; ++i) bias_f64_[i * padded + o] = own - moved[i];
  }
  if (!narrow) return {};
  bias_s32_.resize(bias_f64_.size());  // modulo 2^32, as the sums
  for (size_t i = 0; i < bias_f64_.size(); ++i) {
    bias_s32_[i] =
        static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(static_cast<int64_t>(bias_f64_[i]))));
  }
  bias_f64_ = {};
  return {};
}

int64_t WinogradConvolution::packed_bytes() const {
  return packed_.size_bytes() + no_bias_.size_bytes() +
         static_cast<int64_t>(8 * (weight_sums_.size() + weight_sizes_.size() + bias_f64_.size()) +
                              4 * bias_s32_.size());
}

WinogradConvolution::Place WinogradConvolution::place(int64_t tile) const {
  const int64_t across = tile_cols();
  const int64_t down = tile_rows();
  return {tile / across / down, tile / across % down * geometry_.tile, tile % across * geometry_.tile};
}

void WinogradConvolution::run(const ProductEpilogue& epilogue, const Convolution::Buffers& buffers,
                              ThreadPool& threads) const {
  const int64_t tiles = buffers.images * tile_rows() * tile_cols();
  if (tiles == 0) return;
  int64_t size = most_tiles_;
  if (threads.thread_count() > 1) {
    const int64_t share = ceil_div(tiles, kTasksPerThread * threads.thread_count());
    size = std::clamp(align_up(share, kernel_->mr), int64_t{kernel_->mr}, most_tiles_);
  }
  threads.parallel(ceil_div(tiles, size), [&](int64_t index, int thread) {
    const Task task{buffers.scratch + thread * scratch_.total, index * size, std::min(size, tiles - index * size)};
    transform_inputs(task, buffers.x);
    for (int64_t panel = 0; panel < panels_; ++panel) {
      multiply(task, panel);
      finish(task, epilogue, buffers, panel);
    }
  });
}

void WinogradConvolution::transform_inputs(const Task& task, const std::byte* x) const {
  const WinogradGeometry& g = geometry_;
  hai_stripe stripe = {};
  stripe.image_rows = g.in_rows;
  stripe.image_cols = g.in_cols;
  stripe.channels = g.in_channels;
  stripe.row_count = stripe.col_count = g.side();
  stripe.row_step = stripe.col_step = 1;
  stripe.out = task.scratch + scratch_.image;
  stripe.kind = !integer_ ? HAI_STRIPE_F32 : x_dtype_ == DataType::kI8 ? HAI_STRIPE_S8_TO_S16 : HAI_STRIPE_U8_TO_S16;
  stripe.zero_point = zero_point_;
  hai_winograd_input transform = {};
  transform.tile = g.tile;
  transform.channels = g.in_channels;
  transform.d = stripe.out;
  transform.tap_stride_bytes = most_tiles_ * row_bytes_;
  transform.shifts = shifts_.input.data();
  transform.left = kernel_->left;
  transform.rounds = rounds_ ? 1 : 0;
  for (int64_t i = 0; i < task.count; ++i) {
    const Place at = place(task.first + i);
    stripe.image = x + at.image * g.in_rows * g.in_cols * g.in_channels * x_element_bytes_;
    stripe.first_row = at.row - g.pad_top;
    stripe.first_col = at.col - g.pad_left;
    stripe_copy_for(isa_)(&stripe);
    transform.out = task.scratch + scratch_.inputs + i * row_bytes_;
    if (integer_) {
      winograd_input_s16_for(isa_)(&transform);
    } else {
      winograd_input_f32_for(isa_)(&transform);
    }
  }
}

void WinogradConvolution::multiply(const Task& task, int64_t panel) const {
  const int64_t nr = kernel_->nr;
  const int64_t share = ceil_div(task.count, ceil_div(task.count, kernel_->mr));  // even: short tiles hide less latency
  const void* segment = nullptr;
  hai_gemm_operands in = {};
  in.segments = &segment;
  in.segment_count = 1;
  in.segment_steps = steps_;
  in.row_stride_bytes = row_bytes_;
  in.cols = columns(panel);
  for (int64_t tap = 0; tap < geometry_.taps(); ++tap) {
    in.panel = packed_.data() + (tap * panels_ + panel) * panel_bytes_;
    std::byte* sums = task.scratch + scratch_.sums + tap * most_tiles_ * nr * 4;
    for (int64_t first = 0; first < task.count; first += share) {
      segment = task.scratch + scratch_.inputs + (tap * most_tiles_ + first) * row_bytes_;
      in.rows = static_cast<int32_t>(std::min(share, task.count - first));
      if (integer_) {
        hai_gemm_i8_tile product = {};
        product.in = in;
        product.sums = reinterpret_cast<int32_t*>(sums + first * nr * 4);
        kernel_->run_i8(&product);
      } else {
        hai_gemm_f32_tile product = {};
        product.in = in;
        product.bias = reinterpret_cast<const float*>(no_bias_.data());
        product.lo = -std::numeric_limits<float>::infinity();
        product.hi = std::numeric_limits<float>::infinity();
        product.out = reinterpret_cast<float*>(sums + first * nr * 4);
        product.out_stride = nr;
        kernel_->run_f32(&product);
      }
    }
  }
}

void WinogradConvolution::finish(const Task& task, const ProductEpilogue& epilogue, const Convolution::Buffers& buffers,
                                 int64_t panel) const {
  const int64_t nr = kernel_->nr;
  const int64_t channel = panel * nr;
  std::byte* results = task.scratch + scratch_.results;
  hai_winograd_output w = {};
  w.tile = geometry_.tile;
  w.cols = columns(panel);
  w.tap_stride = most_tiles_ * nr;
  w.exponents = shifts_.exponents.data();
  w.bias_stride = padded_channels();
  w.lo = epilogue.lo;
  w.hi = epilogue.hi;
  w.out_stride = nr;
  w.real = reinterpret_cast<float*>(results);
  if (integer_) {
    w.bias_s32 = bias_s32_.empty() ? nullptr : bias_s32_.data() + channel;
    w.bias_f64 = bias_s32_.empty() ? bias_f64_.data() + channel : nullptr;
    w.multiplier = epilogue.multiplier.data() + channel;
    w.steps = epilogue.to_float ? nullptr : reinterpret_cast<int32_t*>(results);
  } else {
    w.bias_f32 = epilogue.bias_f32.data() + channel;
  }
  for (int64_t i = 0; i < task.count; ++i) {
    const std::byte* sums = task.scratch + scratch_.sums + i * nr * 4;
    if (integer_) {
      w.sums = reinterpret_cast<const int32_t*>(sums);
      winograd_output_s32_for(isa_)(&w);
    } else {
      w.real_sums = reinterpret_cast<const float*>(sums);
      winograd_output_f32_for(isa_)(&w);
    }
    store(place(task.first + i), epilogue, buffers, panel, results);
  }
}

// The rows of a tile that lie inside of the output.
void WinogradConvolution::store(const Place& at, const ProductEpilogue& epilogue, const Convolution::Buffers& buffers,
                                int64_t panel, std::byte* results) const {
  const WinogradGeometry& g = geometry_;
  const int64_t nr = kernel_->nr;
  const int64_t rows = std::min<int64_t>(g.tile, g.out_rows - at.row);
  const auto pixels = static_cast<int32_t>(std::min<int64_t>(g.tile, g.out_cols - at.col));
  const bool whole = epilogue.to_float || (!integer_ && epilogue.stores_in_kernel());  // nothing follows
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t first = ((at.image * g.out_rows + at.row + row) * g.out_cols + at.col) * g.out_channels + panel * nr;
    std::byte* from = results + row * g.tile * nr * 4;
    std::byte* out = buffers.y + first * epilogue.output_element_bytes();
    const std::byte* residual = buffers.residual_at(first, epilogue);
    if (whole) {
      for (int32_t pixel = 0; pixel < pixels; ++pixel) {
        std::memcpy(out + pixel * g.out_channels * 4, from + pixel * nr * 4, static_cast<size_t>(columns(panel)) * 4);
      }
    } else if (!integer_) {
      epilogue.finish_f32(reinterpret_cast<float*>(from), nr, pixels, columns(panel),
                          reinterpret_cast<const float*>(residual), g.out_channels, reinterpret_cast<float*>(out),
                          g.out_channels);
    } else {
      epilogue.finish_steps(reinterpret_cast<int32_t*>(from), nr, pixels, columns(panel), panel * nr, residual,
                            g.out_channels, out, g.out_channels);
    }
  }
}

}  // namespace hai::cpu

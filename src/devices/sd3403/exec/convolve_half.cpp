// Convolutions of f16: sums of f32 in the stated order, on the CPU device's f32 matrix-product kernels.
//
// Method: a task is a row of results. The rows of its windows are widened into scratch, with padding; dense ones then
// run tile by tile on the kernel, whose sums start from the bias or from the accumulators and take one product after
// the other; depthwise ones run over channels, tap by tap. Products of two f16 are exact in f32, so that a fused
// multiply-add changes nothing, and so do taps in the padding. Weights are finite, which is checked.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "devices/cpu/exec/product_kernels.h"
#include "devices/sd3403/exec/convolve.h"
#include "devices/sd3403/exec/convolve_half.h"
#include "devices/sd3403/exec/half_rules.h"
#include "devices/sd3403/isa/access.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kMostCopyBytes = int64_t{1} << 28;

float half_at(std::span<const std::byte> blocks, int64_t at) {
  uint16_t bits = 0;
  std::memcpy(&bits, blocks.data() + 2 * at, sizeof bits);
  return hai_f16_to_f32(bits);
}

class HalfConvolve final : public Step {
 public:
  HalfConvolve(const Convolve& command, SharedWeights weights, std::vector<float> bias, cpu::Isa isa)
      : c_(command),
        input_(input_tile(command)),
        weights_(std::move(weights)),
        bias_(std::move(bias)),
        kernel_(gemm_f32_for(isa)()),
        depth_(command.input_channels),
        columns_((command.output_columns - 1) * command.stride_columns +
                 (command.window_columns - 1) * command.dilation_columns + 1),
        results_(command) {}

  Status choose_scratch() {
    const auto pixels = checked_mul(columns_, c_.window_rows);
    const auto elements = pixels ? checked_mul(*pixels, depth_) : std::nullopt;
    if (!elements || *elements > kMostCopyBytes / 4) {
      return make_error(StatusCode::kUnsupported, "N097", "a window of {} rows needs a copy of more than {} bytes",
                        c_.window_rows, kMostCopyBytes);
    }
    segments_at_ = align_up(*elements * 4, 64);
    sums_at_ = segments_at_ + align_up(segment_count() * int64_t{sizeof(void*)}, 64);
    const int64_t tile = int64_t{kernel_->mr} * kernel_->nr;
    scratch_ = sums_at_ + align_up(std::max(tile, align_up(c_.output_channels, kBlockChannels)) * 4, 64);
    return {};
  }

  int64_t scratch_bytes() const override { return scratch_; }
  int64_t accumulator_bytes() const override {
    if (c_.first_sum != 0 && c_.last_sum != 0) return 0;
    return c_.output_rows * c_.output_columns * padded() * 4;
  }

  void run(const StepContext& context) const override {
    context.threads.parallel(c_.output_rows, [&](int64_t row, int thread) {
      std::byte* scratch = context.scratch + thread * context.scratch_bytes;
      copy_rows(context, row, reinterpret_cast<float*>(scratch));
      if (c_.connection == kDepthwise) {
        run_depthwise(context, row, scratch);
      } else {
        run_dense(context, row, scratch);
      }
    });
  }

 private:
  int64_t nr() const { return kernel_->nr; }
  // Output channels of whole panels, or blocks.
  int64_t padded() const {
    return align_up(c_.output_channels, std::max<int64_t>(c_.connection == kDense ? nr() : 1, kBlockChannels));
  }
  bool runs() const { return c_.dilation_columns == 1; }
  int64_t segment_count() const { return c_.window_rows * (runs() ? 1 : c_.window_columns); }
  int64_t segment_steps() const { return (runs() ? c_.window_columns : 1) * depth_; }

  // [window row][column][channel], columns from the first window's first on.
  void copy_rows(const StepContext& context, int64_t row, float* to) const {
    for (int64_t r = 0; r < c_.window_rows; ++r, to += columns_ * depth_) {
      const int64_t y = row * c_.stride_rows - c_.pad_top + r * c_.dilation_rows;
      if (y < 0 || y >= c_.input_rows) {
        std::fill(to, to + columns_ * depth_, 0.0F);
        continue;
      }
      const std::byte* from = context.sram + input_.row_address(y);
      for (int64_t column = 0; column < columns_; ++column) {
        const int64_t x = column - c_.pad_left;
        float* pixel = to + column * depth_;
        if (x < 0 || x >= c_.input_columns) {
          std::fill(pixel, pixel + depth_, 0.0F);
        } else {
          widen_halves(reinterpret_cast<const uint16_t*>(from + x * input_.pixel_stride), pixel, depth_);
        }
      }
    }
  }

  void run_dense(const StepContext& context, int64_t row, std::byte* scratch) const {
    const auto* copy = reinterpret_cast<const float*>(scratch);
    auto* segments = reinterpret_cast<const void**>(scratch + segments_at_);
    const bool kept = c_.first_sum == 0 || c_.last_sum == 0;
    const int64_t steps = segment_count() * segment_steps();
    hai_gemm_f32_tile tile = {};
    tile.in.segments = segments;
    tile.in.segment_count = segment_count();
    tile.in.segment_steps = segment_steps();
    tile.in.row_stride_bytes = c_.stride_columns * depth_ * 4;
    tile.in.cols = kernel_->nr;
    tile.lo = -std::numeric_limits<float>::infinity();
    tile.hi = std::numeric_limits<float>::infinity();
    tile.accumulate = c_.first_sum == 0 ? 1 : 0;
    tile.out_stride = kept ? padded() : nr();
    for (int64_t first = 0; first < c_.output_channels; first += nr()) {
      tile.in.panel = weights_->packed.as<float>() + first * steps;
      tile.bias = bias_.data() + (bias_.empty() ? 0 : first);
      for (int64_t column = 0; column < c_.output_columns; column += kernel_->mr) {
        tile.in.rows = static_cast<int32_t>(std::min<int64_t>(kernel_->mr, c_.output_columns - column));
        for (int64_t s = 0; s < segment_count(); ++s) {
          const int64_t across = runs() ? 1 : c_.window_columns;
          segments[s] =
              copy + (s / across * columns_ + column * c_.stride_columns + s % across * c_.dilation_columns) * depth_;
        }
        tile.out = kept ? sums_at(context, row, column) + first : reinterpret_cast<float*>(scratch + sums_at_);
        kernel_->run_f32(&tile);
        if (c_.last_sum == 0) continue;
        const int64_t channels = std::min(nr(), c_.output_channels - first);
        for (int64_t i = 0; i < tile.in.rows; ++i)
          results_.store(context, tile.out + i * tile.out_stride, row, column + i, first, channels);
      }
    }
  }

  void run_depthwise(const StepContext& context, int64_t row, std::byte* scratch) const {
    const auto* copy = reinterpret_cast<const float*>(scratch);
    const int64_t channels = c_.output_channels;
    for (int64_t column = 0; column < c_.output_columns; ++column) {
      const bool kept = c_.first_sum == 0 || c_.last_sum == 0;
      float* sums = kept ? sums_at(context, row, column) : reinterpret_cast<float*>(scratch + sums_at_);
      if (c_.first_sum != 0) std::copy_n(bias_.data(), channels, sums);
      const float* weight = weights_->packed.as<float>();
      for (int64_t r = 0; r < c_.window_rows; ++r) {
        for (int64_t k = 0; k < c_.window_columns; ++k, weight += channels) {
          const float* x = copy + (r * columns_ + column * c_.stride_columns + k * c_.dilation_columns) * depth_;
          for (int64_t c = 0; c < channels; ++c) sums[c] += x[c] * weight[c];
        }
      }
      if (c_.last_sum != 0) results_.store(context, sums, row, column, 0, channels);
    }
  }

  float* sums_at(const StepContext& context, int64_t row, int64_t column) const {
    return reinterpret_cast<float*>(context.accumulators) + (row * c_.output_columns + column) * padded();
  }

  Convolve c_;
  Tile input_;
  SharedWeights weights_;
  std::vector<float> bias_;  // empty: sums go on
  const hai_gemm_kernel* kernel_;
  int64_t depth_, columns_;  // channels and columns of a copied row
  HalfResults results_;
  int64_t segments_at_ = 0, sums_at_ = 0, scratch_ = 0;
};

}  // namespace

HalfResults::HalfResults(const Convolve& c)
    : output_(output_tile(c)),
      residual_(residual_tile(c)),
      real_(c.output_type == kF32),
      adds_residual_(c.adds_residual != 0) {
  if (c.last_sum == 0) return;
  const bool twice = c.function != kNoFunction || c.adds_residual != 0;
  if (twice) epilogue_.first = half_bounds_of(c.sum_least, c.sum_greatest);
  epilogue_.last = half_bounds_of(c.least, c.greatest);
  if (c.function == kReal) epilogue_.function = half_table(real_function_of(c));
}

void HalfResults::store(const StepContext& context, const float* sums, int64_t row, int64_t column, int64_t first,
                        int64_t channels) const {
  std::byte* out = context.sram + output_.row_address(row) + column * output_.pixel_stride;
  if (real_) {
    std::memcpy(out + 4 * first, sums, static_cast<size_t>(4 * channels));
    return;
  }
  const uint16_t* residual = nullptr;
  if (adds_residual_) {
    residual =
        reinterpret_cast<const uint16_t*>(context.sram + residual_.row_address(row) + column * residual_.pixel_stride) +
        first;
  }
  epilogue_.run(sums, residual, reinterpret_cast<uint16_t*>(out) + first, channels);
}

Result<std::vector<float>> half_bias(const Convolve& c, const WeightCache& cache, int64_t padded) {
  std::vector<float> bias;
  if (!reads_channel_table(c)) return bias;
  const int64_t entry = channel_entry_bytes(has_wide_sums(c));
  HAI_TRY(const auto channels, cache.read(c.channel_table, entry * c.output_channels));
  bias.assign(static_cast<size_t>(align_up(c.output_channels, padded)), 0.0F);
  for (int64_t o = 0; o < c.output_channels; ++o)
    std::memcpy(&bias[static_cast<size_t>(o)], channels.data() + o * entry, sizeof(float));
  return bias;
}

Result<cpu::AlignedBuffer> pack_halves(const Convolve& c, std::span<const std::byte> blocks, cpu::Isa isa) {
  const bool dense = c.connection == kDense;
  const int64_t length = taps_of(c) * depth_of(c);  // of an output channel
  const int64_t nr = dense ? gemm_f32_for(isa)()->nr : c.output_channels;
  HAI_TRY(cpu::AlignedBuffer packed, cpu::AlignedBuffer::zeros(ceil_div(c.output_channels, nr) * nr * length * 4));
  float* to = packed.as<float>().data();
  for (int64_t o = 0; o < c.output_channels; ++o) {
    const int64_t block = o / kBlockChannels * kBlockChannels;
    for (int64_t k = 0; k < length; ++k) {
      const float weight = half_at(blocks, block * length + k * kBlockChannels + o - block);
      if (!std::isfinite(weight)) {
        return make_error(StatusCode::kInvalidArgument, "N084", "a weight of channel {} is not finite", o);
      }
      to[o / nr * nr * length + k * nr + o % nr] = weight;
    }
  }
  return packed;
}

Result<StepPointer> make_half_convolve(const Convolve& command, SharedWeights weights, const WeightCache& cache,
                                       cpu::Isa isa) {
  HAI_TRY(std::vector<float> bias, half_bias(command, cache, gemm_f32_for(isa)()->nr));
  auto step = std::make_unique<HalfConvolve>(command, std::move(weights), std::move(bias), isa);
  HAI_TRY_STATUS(step->choose_scratch());
  return StepPointer(std::move(step));
}

}  // namespace hai::sd3403

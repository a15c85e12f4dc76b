// Depthwise convolutions: the CPU device's kernels over rows of channels, reading rows of the tile where they lie.
//
// 8-bit inputs are summed in f32 (exact below 2^24), i16 ones in f64 (below 2^53), or in 32 bits where that is enough;
// a layer whose sums might pass these is left to plain loops. Rows above and below the tile are one idle row of zero
// points, which all threads read.
#include <algorithm>

#include "base/checked.h"
#include "devices/cpu/exec/parallel_range.h"
#include "devices/cpu/exec/product_kernels.h"
#include "devices/sd3403/exec/convolve.h"

namespace hai::sd3403 {
namespace {

constexpr int64_t kExactBound = int64_t{1} << 24;
constexpr int64_t kExactWideBound = int64_t{1} << 53;
constexpr int64_t kNarrowSumBound = int64_t{1} << 31;
constexpr int64_t kFinishBytes = 16 * 1024;

class DepthwiseConvolve final : public Step {
 public:
  DepthwiseConvolve(const Convolve& command, SharedWeights weights, SharedEpilogue epilogue, bool narrow_sums,
                    cpu::Isa isa);

  int64_t scratch_bytes() const override { return scratch_rows_ + finish_cols_ * pixel_scratch_; }
  int64_t common_bytes() const override { return idle_elements() * element_bytes(c_.input_type); }
  void run(const StepContext& context) const override;

 private:
  // Whole rows only where some window reaches above or below the tile.
  int64_t idle_elements() const {
    const int64_t last = (c_.output_rows - 1) * c_.stride_rows - c_.pad_top + (c_.window_rows - 1) * c_.dilation_rows;
    if (c_.pad_top == 0 && last < c_.input_rows) return c_.output_channels;
    const int64_t pixel = input_.pixel_stride / element_bytes(c_.input_type);
    return (c_.input_columns - 1) * pixel + c_.output_channels;
  }
  void run_row(const StepContext& context, std::byte* scratch, int64_t row) const;
  void run_bytes(const StepContext& context, std::byte* scratch, int64_t row) const;
  void run_words(const StepContext& context, std::byte* scratch, int64_t row) const;
  ResultPixels results_at(const StepContext& context, int64_t row, int64_t col) const;
  template <typename Depthwise>
  void set_shape(Depthwise& d, const StepContext& context, std::byte* scratch) const;

  Convolve c_;
  Tile input_, output_, residual_;
  SharedWeights weights_;
  SharedEpilogue epilogue_;
  cpu::Isa isa_;
  bool wide_, narrow_sums_;
  int64_t padded_;
  int64_t finish_cols_, pixel_scratch_, scratch_rows_;
  std::vector<int32_t> narrow_weights_;  // narrow_sums_: in the lower halves
  std::vector<float> bias_f32_;
  std::vector<double> bias_f64_;
  std::vector<int32_t> bias_s32_;
};

DepthwiseConvolve::DepthwiseConvolve(const Convolve& command, SharedWeights weights, SharedEpilogue epilogue,
                                     bool narrow_sums, cpu::Isa isa)
    : c_(command),
      input_(input_tile(command)),
      output_(output_tile(command)),
      residual_(residual_tile(command)),
      weights_(std::move(weights)),
      epilogue_(std::move(epilogue)),
      isa_(isa),
      wide_(is_wide(command.input_type)),
      narrow_sums_(narrow_sums),
      padded_(align_up(command.output_channels, kBlockChannels)),
      pixel_scratch_(padded_ * 6),  // sums of 32 bits, words
      scratch_rows_(align_up(command.window_rows * static_cast<int64_t>(sizeof(void*)), 64)) {
  finish_cols_ = std::clamp<int64_t>(kFinishBytes / pixel_scratch_, 1, c_.output_columns);
  const auto count = static_cast<size_t>(padded_);
  const auto channels = static_cast<size_t>(c_.output_channels);
  if (!wide_) bias_f32_.assign(count, 0.0F);
  if (wide_ && !narrow_sums_) bias_f64_.assign(count, 0.0);
  if (narrow_sums_) bias_s32_.assign(count, 0);
  for (size_t c = 0; c < channels; ++c) {
    const int64_t bias = epilogue_->folded_bias(c);
    if (!wide_) bias_f32_[c] = static_cast<float>(bias);
    if (wide_ && !narrow_sums_) bias_f64_[c] = static_cast<double>(bias);
    if (narrow_sums_) bias_s32_[c] = static_cast<int32_t>(bias);
  }
  if (!narrow_sums_) return;
  const auto taps = static_cast<size_t>(c_.window_rows * c_.window_columns);
  narrow_weights_.resize(taps * count);
  for (size_t i = 0; i < narrow_weights_.size(); ++i) {
    narrow_weights_[i] = static_cast<uint16_t>(weights_->packed.as<int16_t>()[i]);
  }
}

void DepthwiseConvolve::run(const StepContext& context) const {
  if (wide_) {
    auto* idle = reinterpret_cast<int16_t*>(context.common);
    std::fill(idle, idle + idle_elements(), static_cast<int16_t>(c_.input_zero_point));
  } else {
    std::memset(context.common, static_cast<int>(c_.input_zero_point) & 0xff, static_cast<size_t>(idle_elements()));
  }
  const int64_t work = c_.output_columns * c_.output_channels * c_.window_rows * c_.window_columns;
  const int64_t tasks_wanted = work * c_.output_rows < 2 * cpu::kParallelGrain ? 1 : 4 * context.threads.thread_count();
  const int64_t rows_a_task = ceil_div(c_.output_rows, std::min(tasks_wanted, c_.output_rows));
  context.threads.parallel(ceil_div(c_.output_rows, rows_a_task), [&](int64_t task, int thread) {
    const int64_t end = std::min(c_.output_rows, (task + 1) * rows_a_task);
    for (int64_t row = task * rows_a_task; row < end; ++row) {
      run_row(context, context.scratch + thread * context.scratch_bytes, row);
    }
  });
}

void DepthwiseConvolve::run_row(const StepContext& context, std::byte* scratch, int64_t row) const {
  const auto** rows = reinterpret_cast<const void**>(scratch);
  for (int64_t r = 0; r < c_.window_rows; ++r) {
    const int64_t y = row * c_.stride_rows - c_.pad_top + r * c_.dilation_rows;
    const bool inside = y >= 0 && y < c_.input_rows;
    rows[r] = inside ? context.sram + input_.row_address(y) : context.common;
  }
  if (wide_) return run_words(context, scratch, row);
  run_bytes(context, scratch, row);
}

template <typename Depthwise>
void DepthwiseConvolve::set_shape(Depthwise& d, const StepContext& context, std::byte* scratch) const {
  d.rows = reinterpret_cast<const void* const*>(scratch);
  d.idle = context.common;
  d.image_cols = c_.input_columns;
  d.channels = c_.output_channels;
  d.channels_padded = padded_;
  d.pixel_elements = input_.pixel_stride / element_bytes(c_.input_type);
  d.kernel_rows = c_.window_rows;
  d.kernel_cols = c_.window_columns;
  d.stride_cols = c_.stride_columns;
  d.dilation_cols = c_.dilation_columns;
  d.pad_left = c_.pad_left;
  d.multiplier = epilogue_->multiplier();
  d.zero_point = epilogue_->zero_point();
}

ResultPixels DepthwiseConvolve::results_at(const StepContext& context, int64_t row, int64_t col) const {
  const int64_t bytes = epilogue_->output_bytes();
  ResultPixels out{context.sram + output_.row_address(row) + col * output_.pixel_stride, output_.pixel_stride / bytes,
                   nullptr, 0};
  if (c_.adds_residual == 0) return out;
  out.residual = context.sram + residual_.row_address(row) + col * residual_.pixel_stride;
  out.residual_stride = residual_.pixel_stride / epilogue_->residual_bytes();
  return out;
}

void DepthwiseConvolve::run_bytes(const StepContext& context, std::byte* scratch, int64_t row) const {
  hai_depthwise d = {};
  set_shape(d, context, scratch);
  d.weights = weights_->packed.as<float>();
  d.bias = bias_f32_.data();
  d.lo = epilogue_->lo();
  d.hi = epilogue_->hi();
  d.input_signed = c_.input_type == kI8 ? 1 : 0;
  const bool stores = epilogue_->stores_in_kernel();
  const int64_t step = stores ? c_.output_columns : finish_cols_;
  auto* sums = reinterpret_cast<int32_t*>(scratch + scratch_rows_);
  auto* words = reinterpret_cast<int16_t*>(sums + finish_cols_ * padded_);
  const auto kernel = depthwise_s8_for(isa_);
  for (int64_t col = 0; col < c_.output_columns; col += step) {
    const ResultPixels results = results_at(context, row, col);
    d.first_col = col;
    d.col_count = std::min(step, c_.output_columns - col);
    d.out = results.out;
    d.out_stride = results.out_stride;
    d.sums = stores ? nullptr : sums;
    kernel(&d);
    if (stores) {
      epilogue_->look_up(results.out, output_.pixel_stride, d.col_count, c_.output_channels);
    } else {
      epilogue_->finish(sums, padded_, static_cast<int32_t>(d.col_count), static_cast<int32_t>(c_.output_channels), 0,
                        results, words);
    }
  }
}

// The kernel rounds to words; where those are not the results themselves they are finished in scratch.
void DepthwiseConvolve::run_words(const StepContext& context, std::byte* scratch, int64_t row) const {
  hai_depthwise_s16 d = {};
  set_shape(d, context, scratch);
  if (narrow_sums_) {
    d.weights_s32 = narrow_weights_.data();
    d.bias_s32 = bias_s32_.data();
  } else {
    d.weights = weights_->packed.as<int16_t>();
    d.bias = bias_f64_.data();
  }
  d.lo = static_cast<double>(epilogue_->lo());
  d.hi = static_cast<double>(epilogue_->hi());
  const bool real = c_.output_type == kF32;
  const bool direct = real || epilogue_->only_words();
  const int64_t step = direct ? c_.output_columns : finish_cols_;
  auto* words = reinterpret_cast<int16_t*>(scratch + scratch_rows_);
  const auto kernel = depthwise_s16_for(isa_);
  for (int64_t col = 0; col < c_.output_columns; col += step) {
    const ResultPixels results = results_at(context, row, col);
    d.first_col = col;
    d.col_count = std::min(step, c_.output_columns - col);
    d.out_stride = direct ? results.out_stride : c_.output_channels;
    d.out = real ? nullptr : direct ? reinterpret_cast<int16_t*>(results.out) : words;
    d.out_f32 = real ? reinterpret_cast<float*>(results.out) : nullptr;
    kernel(&d);
    if (direct) continue;
    epilogue_->finish_words(words, c_.output_channels, static_cast<int32_t>(d.col_count),
                            static_cast<int32_t>(c_.output_channels), results, true);
  }
}

}  // namespace

// [taps][padded channels]: f32, of i16 input i16.
Result<cpu::AlignedBuffer> pack_rows(const Convolve& c, std::span<const int16_t> weights) {
  const int64_t padded = align_up(c.output_channels, kBlockChannels);
  const int64_t taps = c.window_rows * c.window_columns;
  const bool wide = is_wide(c.input_type);
  HAI_TRY(cpu::AlignedBuffer packed, cpu::AlignedBuffer::zeros(taps * padded * (wide ? 2 : 4)));
  for (int64_t o = 0; o < c.output_channels; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      const int16_t weight = weights[static_cast<size_t>(o * taps + t)];
      const auto at = static_cast<size_t>(t * padded + o);
      if (wide) {
        packed.as<int16_t>()[at] = weight;
      } else {
        packed.as<float>()[at] = static_cast<float>(weight);
      }
    }
  }
  return packed;
}

Result<StepPointer> make_depthwise_convolve(const Convolve& command, const SharedWeights& weights,
                                            const SharedEpilogue& epilogue, cpu::Isa isa) {
  const bool wide = is_wide(command.input_type);
  if (wide && command.output_type != kF32 && !epilogue->rounds_to_words()) return StepPointer();
  const int64_t reach = wide ? 32768 : command.input_type == kI8 ? 128 : 255;
  int64_t largest = 0;
  for (size_t c = 0; c < weights->channels.size(); ++c) {
    const int64_t bias = epilogue->folded_bias(c);
    largest = std::max(largest, weights->channels[c].absolute_sum * reach + (bias < 0 ? -bias : bias));
  }
  if (largest >= (wide ? kExactWideBound : kExactBound)) return StepPointer();
  const bool narrow_sums =
      wide && largest < kNarrowSumBound && command.output_channels >= HAI_DEPTHWISE_S16_LEAST_CHANNELS;
  return StepPointer(std::make_unique<DepthwiseConvolve>(command, weights, epilogue, narrow_sums, isa));
}

}  // namespace hai::sd3403

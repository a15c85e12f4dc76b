// Convolve by plain loops: every form that the kernels do not take, exactly, one output at a time.
//
// Sums have 64 bits here, in the accumulators too ([pixel][channel]). What lies outside of the tile counts as the zero
// point, so it adds nothing.
#include <optional>

#include "devices/cpu/exec/parallel_range.h"
#include "devices/sd3403/exec/convolve.h"
#include "devices/sd3403/exec/convolve_rules.h"

namespace hai::sd3403 {
namespace {

class PlainConvolve final : public Step {
 public:
  PlainConvolve(const Convolve& command, SharedWeights weights, std::optional<ConvolveRules> rules)
      : c_(command),
        input_(input_tile(command)),
        output_(output_tile(command)),
        residual_(residual_tile(command)),
        weights_(std::move(weights)),
        rules_(std::move(rules)) {}

  int64_t accumulator_bytes() const override {
    const bool needed = c_.first_sum == 0 || c_.last_sum == 0;
    return needed ? c_.output_rows * c_.output_columns * c_.output_channels * 8 : 0;
  }

  void run(const StepContext& context) const override {
    const int64_t work = c_.output_columns * c_.output_channels * c_.window_rows * c_.window_columns * depth_of(c_);
    cpu::parallel_range(context.threads, c_.output_rows, work, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) run_row(context, row);
    });
  }

 private:
  void run_row(const StepContext& context, int64_t row) const {
    std::byte* out = context.sram + output_.row_address(row);
    const std::byte* residual = context.sram + (c_.adds_residual != 0 ? residual_.row_address(row) : 0);
    for (int64_t column = 0; column < c_.output_columns; ++column) {
      auto* kept =
          reinterpret_cast<int64_t*>(context.accumulators) + (row * c_.output_columns + column) * c_.output_channels;
      for (int64_t o = 0; o < c_.output_channels; ++o) {
        int64_t sum = sum_of(context.sram, row, column, o);
        if (c_.first_sum == 0) sum += kept[o];
        if (c_.last_sum == 0) {
          kept[o] = sum;
        } else {
          finish(sum, o, residual + column * residual_.pixel_stride, out + column * output_.pixel_stride);
        }
      }
    }
  }

  int64_t sum_of(const std::byte* sram, int64_t row, int64_t column, int64_t channel) const {
    const int64_t depth = depth_of(c_);
    const int64_t element = element_bytes(c_.input_type);
    const int64_t first = c_.connection == kDepthwise ? channel : 0;
    const int16_t* weight = weights_->values.data() + channel * c_.window_rows * c_.window_columns * depth;
    int64_t sum = 0;
    for (int64_t r = 0; r < c_.window_rows; ++r) {
      const int64_t y = row * c_.stride_rows - c_.pad_top + r * c_.dilation_rows;
      for (int64_t k = 0; k < c_.window_columns; ++k, weight += depth) {
        const int64_t x = column * c_.stride_columns - c_.pad_left + k * c_.dilation_columns;
        if (y < 0 || y >= c_.input_rows || x < 0 || x >= c_.input_columns) continue;
        const std::byte* at = sram + input_.row_address(y) + x * input_.pixel_stride + first * element;
        for (int64_t i = 0; i < depth; ++i) {
          sum += (load_integer(at + i * element, c_.input_type) - c_.input_zero_point) *
                 (weight[i] - c_.weight_zero_point);
        }
      }
    }
    return sum;
  }

  void finish(int64_t sum, int64_t channel, const std::byte* residual, std::byte* out) const {
    const auto at = static_cast<size_t>(channel);
    sum += rules_->bias[at];
    const float multiplier = rules_->multiplier[at];
    if (rules_->output_type == kF32) {
      const float value = rules_->real(sum, multiplier);
      std::memcpy(out + 4 * channel, &value, sizeof value);
      return;
    }
    const int32_t added = rules_->adds_residual
                              ? load_integer(residual + channel * element_bytes(c_.residual_type), c_.residual_type)
                              : 0;
    store_integer(out + channel * element_bytes(c_.output_type), c_.output_type,
                  rules_->integer(sum, multiplier, added));
  }

  Convolve c_;
  Tile input_, output_, residual_;
  SharedWeights weights_;
  std::optional<ConvolveRules> rules_;
};

}  // namespace

Result<StepPointer> make_plain_convolve(const Convolve& command, SharedWeights weights, const WeightCache& cache,
                                        const SumBounds& bounds) {
  std::optional<ConvolveRules> rules;
  if (command.last_sum != 0) {
    HAI_TRY(rules, ConvolveRules::make(command, cache));
    HAI_TRY_STATUS(bounds.check(command, rules->bias));
  }
  return StepPointer(std::make_unique<PlainConvolve>(command, std::move(weights), std::move(rules)));
}

}  // namespace hai::sd3403

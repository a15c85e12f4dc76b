// Pool: the greatest or the mean of the elements of a window that lie inside of a tile, for each channel.
//
// Method: where the rows of a window are equally far apart and the result has the input's type, the CPU device's
// pooling kernels run on them in place; where a ring wraps within a window, or types differ, plain loops do. How many
// elements a mean has depends on the position alone, so that every multiplier that occurs is looked up and checked when
// the step is made. A window without any element gives the least value of the type, or 0 for a mean.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <vector>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_range.h"
#include "devices/sd3403/exec/elementwise.h"
#include "devices/sd3403/exec/processor_step.h"
#include "types/float_format.h"

namespace hai::sd3403 {
namespace {

#define HAI_POOL_FAMILIES(suffix, type)                                                                                \
  HAI_KERNEL_FAMILY(max_pool_##suffix, void, (const type*, int64_t, int64_t, int64_t, int64_t, int64_t, type, type*)); \
  HAI_KERNEL_FAMILY(                                                                                                   \
      average_pool_##suffix, void,                                                                                     \
      (const type*, int64_t, int64_t, int64_t, int64_t, int64_t, int32_t, float, hai_output_range, type*))
HAI_POOL_FAMILIES(s8, int8_t);
HAI_POOL_FAMILIES(u8, uint8_t);
HAI_POOL_FAMILIES(s16, int16_t);
#undef HAI_POOL_FAMILIES

constexpr int64_t kMostSummands = std::numeric_limits<int32_t>::max() / 255;  // of 8 bits in a sum of 32

// Positions of one axis that window `index` has inside of the tile: [begin, end).
struct Span {
  int64_t begin = 0, end = 0;
  int64_t count() const { return end - begin; }
};
Span inside(int64_t index, int64_t stride, int64_t pad, int64_t window, int64_t size) {
  const int64_t first = index * stride - pad;
  const int64_t begin = std::max<int64_t>(first, 0);
  return {begin, std::max(begin, std::min(first + window, size))};
}

class PoolStep : public Step {
 public:
  PoolStep(const Pool& command, cpu::Isa isa)
      : c_(command),
        input_(input_tile(command)),
        output_(output_tile(command)),
        out_{static_cast<int32_t>(command.zero_point), static_cast<int32_t>(command.least),
             static_cast<int32_t>(command.greatest)},
        isa_(isa) {}

  Span rows_of(int64_t row) const { return inside(row, c_.stride_rows, c_.pad_top, c_.window_rows, c_.input_rows); }
  Span columns_of(int64_t column) const {
    return inside(column, c_.stride_columns, c_.pad_left, c_.window_columns, c_.input_columns);
  }

 protected:
  // Calls body(rows, columns, y, thread scratch) for each output pixel of each row, then after(y of the row).
  template <typename Body>
  void for_pixels(const StepContext& context, Body&& body) const {
    const int64_t work = c_.output_columns * c_.channels * c_.window_rows * c_.window_columns;
    cpu::parallel_range(context.threads, c_.output_rows, work, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const Span rows = rows_of(row);
        std::byte* y = context.sram + output_.row_address(row);
        for (int64_t i = 0; i < c_.output_columns; ++i) body(rows, columns_of(i), y + i * output_.pixel_stride);
      }
    });
  }

  // True when the rows are one after the other in memory.
  bool in_order(Span rows) const {
    return input_.ring_rows == 0 || rows.count() == 0 ||
           (input_.ring_first + rows.begin) / input_.ring_rows == (input_.ring_first + rows.end - 1) / input_.ring_rows;
  }
  const std::byte* tap(const StepContext& context, int64_t row, int64_t column) const {
    return context.sram + input_.row_address(row) + column * input_.pixel_stride;
  }

  Pool c_;
  Tile input_, output_;
  hai_output_range out_;
  cpu::Isa isa_;
};

class MaximumStep final : public PoolStep {
 public:
  MaximumStep(const Pool& command, std::optional<ElementMap> map, cpu::Isa isa)
      : PoolStep(command, isa), map_(std::move(map)) {}

  void run(const StepContext& context) const override {
    if (c_.input_type == kI8) {
      run_as<int8_t>(context, max_pool_s8_for(isa_));
    } else if (c_.input_type == kU8) {
      run_as<uint8_t>(context, max_pool_u8_for(isa_));
    } else {
      run_as<int16_t>(context, max_pool_s16_for(isa_));
    }
  }

 private:
  static constexpr int64_t kPiece = 512;  // channels

  // The greatest of the input's integers goes to a piece first where the result has another type.
  template <typename T, typename Kernel>
  void run_as(const StepContext& context, Kernel kernel) const {
    constexpr auto kElement = static_cast<int64_t>(sizeof(T));
    constexpr T kLowest = std::numeric_limits<T>::lowest();
    for_pixels(context, [&](Span rows, Span columns, std::byte* y) {
      const bool empty = rows.count() == 0 || columns.count() == 0;
      for (int64_t first = 0; first < c_.channels; first += kPiece) {
        T piece[kPiece];
        const int64_t count = std::min(kPiece, c_.channels - first);
        std::byte* to = y + first * element_bytes(c_.output_type);
        T* greatest = map_ ? piece : reinterpret_cast<T*>(to);
        if (empty || in_order(rows)) {
          const std::byte* x = empty ? context.sram + input_.address : tap(context, rows.begin, columns.begin);
          kernel(reinterpret_cast<const T*>(x) + first, input_.row_stride / kElement, input_.pixel_stride / kElement,
                 empty ? 0 : rows.count(), empty ? 0 : columns.count(), count, kLowest, greatest);
        } else {
          plain<T>(context, rows, columns, first, count, greatest);
        }
        if (map_) map_->run(reinterpret_cast<const std::byte*>(piece), to, count);
      }
    });
  }

  template <typename T>
  void plain(const StepContext& context, Span rows, Span columns, int64_t first, int64_t count, T* y) const {
    std::fill(y, y + count, std::numeric_limits<T>::lowest());
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t column = columns.begin; column < columns.end; ++column) {
        const T* x = reinterpret_cast<const T*>(tap(context, row, column)) + first;
        for (int64_t c = 0; c < count; ++c) y[c] = std::max(y[c], x[c]);
      }
    }
  }

  std::optional<ElementMap> map_;
};

class AverageStep final : public PoolStep {
 public:
  AverageStep(const Pool& command, std::vector<float> multipliers, cpu::Isa isa)
      : PoolStep(command, isa), multipliers_(std::move(multipliers)) {}

  // What a mean divides by.
  int64_t divisor(Span rows, Span columns) const {
    return c_.counts_padding != 0 ? c_.window_rows * c_.window_columns : rows.count() * columns.count();
  }

  void run(const StepContext& context) const override {
    if (c_.input_type == kI8) {
      run_as<int8_t>(context, average_pool_s8_for(isa_));
    } else if (c_.input_type == kU8) {
      run_as<uint8_t>(context, average_pool_u8_for(isa_));
    } else {
      run_as<int16_t>(context, average_pool_s16_for(isa_));
    }
  }

 private:
  template <typename T, typename Kernel>
  void run_as(const StepContext& context, Kernel kernel) const {
    constexpr auto kElement = static_cast<int64_t>(sizeof(T));
    const bool same_type = c_.input_type == c_.output_type;
    const auto zero = static_cast<int32_t>(c_.input_zero_point);
    for_pixels(context, [&](Span rows, Span columns, std::byte* y) {
      const float multiplier = multipliers_[static_cast<size_t>(divisor(rows, columns) - c_.multiplier_first)];
      if (same_type && in_order(rows) && rows.count() > 0 && columns.count() > 0) {
        kernel(reinterpret_cast<const T*>(tap(context, rows.begin, columns.begin)), input_.row_stride / kElement,
               input_.pixel_stride / kElement, rows.count(), columns.count(), c_.channels, zero, multiplier, out_,
               reinterpret_cast<T*>(y));
      } else {
        plain(context, rows, columns, multiplier, y);
      }
    });
  }

  void plain(const StepContext& context, Span rows, Span columns, float multiplier, std::byte* y) const {
    const int64_t element = element_bytes(c_.input_type);
    const bool wide = is_wide(c_.input_type) || is_wide(c_.output_type);
    for (int64_t c = 0; c < c_.channels; ++c) {
      int64_t sum = 0;
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        for (int64_t column = columns.begin; column < columns.end; ++column) {
          sum += load_integer(tap(context, row, column) + c * element, c_.input_type) - c_.input_zero_point;
        }
      }
      const int32_t q = wide ? hai_requantize_i64(sum, multiplier, out_)
                             : hai_requantize_i32(static_cast<int32_t>(sum), multiplier, out_);
      store_integer(y + c * element_bytes(c_.output_type), c_.output_type, q);
    }
  }

  std::vector<float> multipliers_;  // from multiplier_first on
};

class HalfPoolStep final : public PoolStep {
 public:
  using PoolStep::PoolStep;

  void run(const StepContext& context) const override {
    for_pixels(context, [&](Span rows, Span columns, std::byte* y) {
      for (int64_t c = 0; c < c_.channels; ++c) {
        const uint16_t half =
            c_.pooling == kAverage ? mean(context, rows, columns, c) : greatest(context, rows, columns, c);
        std::memcpy(y + 2 * c, &half, sizeof half);
      }
    });
  }

 private:
  uint16_t half_at(const StepContext& context, int64_t row, int64_t column, int64_t channel) const {
    uint16_t half = 0;
    std::memcpy(&half, tap(context, row, column) + 2 * channel, sizeof half);
    return half;
  }

  uint16_t mean(const StepContext& context, Span rows, Span columns, int64_t channel) const {
    double sum = 0.0;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t column = columns.begin; column < columns.end; ++column)
        sum += static_cast<double>(hai_f16_to_f32(half_at(context, row, column, channel)));
    }
    const int64_t count = c_.counts_padding != 0 ? c_.window_rows * c_.window_columns : rows.count() * columns.count();
    return count == 0 ? uint16_t{0} : hai_f64_to_f16(sum / static_cast<double>(count));
  }

  // NaN counts as nothing; of equal ones (zeros) the first.
  uint16_t greatest(const StepContext& context, Span rows, Span columns, int64_t channel) const {
    uint16_t best = 0xfc00;  // minus infinity
    bool any = false;
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      for (int64_t column = columns.begin; column < columns.end; ++column) {
        const uint16_t half = half_at(context, row, column, channel);
        const float value = hai_f16_to_f32(half);
        if (value != value || (any && !(value > hai_f16_to_f32(best)))) continue;
        best = half;
        any = true;
      }
    }
    return best;
  }
};

// The counts along one axis, each once.
template <typename SpanOf>
std::set<int64_t> counts_of(int64_t size, SpanOf span_of) {
  std::set<int64_t> counts;
  for (int64_t i = 0; i < size; ++i) counts.insert(span_of(i).count());
  return counts;
}

Result<StepPointer> make_average(const Pool& command, const StepSources& sources) {
  HAI_TRY(const auto bytes, sources.cache.read(command.multiplier_table, 4 * command.multiplier_entries));
  std::vector<float> multipliers(static_cast<size_t>(command.multiplier_entries));
  std::memcpy(multipliers.data(), bytes.data(), bytes.size());
  auto step = std::make_unique<AverageStep>(command, multipliers, sources.isa);
  const std::set<int64_t> down = counts_of(command.output_rows, [&](int64_t i) { return step->rows_of(i); });
  const std::set<int64_t> across = counts_of(command.output_columns, [&](int64_t i) { return step->columns_of(i); });
  if (!is_wide(command.input_type) && *down.rbegin() * *across.rbegin() > kMostSummands) {
    return make_error(StatusCode::kUnsupported, "N067", "a mean of {} elements of 8 bits may overflow; at most {}",
                      *down.rbegin() * *across.rbegin(), kMostSummands);
  }
  for (const int64_t rows : down) {
    for (const int64_t columns : across) {
      const int64_t count = step->divisor({0, rows}, {0, columns});
      const int64_t at = count - command.multiplier_first;
      if (at < 0 || at >= command.multiplier_entries) {
        return make_error(StatusCode::kInvalidArgument, "N067",
                          "a mean of {} elements occurs, and there are multipliers of {} to {}", count,
                          command.multiplier_first, command.multiplier_first + command.multiplier_entries - 1);
      }
      HAI_TRY_STATUS(check_multiplier("a multiplier of the table", multipliers[static_cast<size_t>(at)]));
    }
  }
  return StepPointer(std::move(step));
}

}  // namespace

Result<StepPointer> make_step(const Pool& command, const StepSources& sources) {
  if (command.input_type == kF16) return StepPointer(std::make_unique<HalfPoolStep>(command, sources.isa));
  HAI_TRY_STATUS(check_zero_point("input_zero_point", command.input_zero_point, command.input_type));
  if (command.pooling == kAverage) {
    return make_average(command, sources);
  }
  std::optional<ElementMap> map;
  if (command.multiplier != 0) {
    HAI_TRY_STATUS(check_multiplier("multiplier", real_of(command.multiplier)));
    const hai_output_range out = {static_cast<int32_t>(command.zero_point), static_cast<int32_t>(command.least),
                                  static_cast<int32_t>(command.greatest)};
    map = ElementMap::rescale(command.input_type, command.output_type, static_cast<int32_t>(command.input_zero_point),
                              real_of(command.multiplier), out, sources.isa);
  }
  return StepPointer(std::make_unique<MaximumStep>(command, std::move(map), sources.isa));
}

}  // namespace hai::sd3403

// Resize: rows and columns of a tile by tables of positions: copies of pixels (nearest) or blends of four (linear).
//
// Method: the tables lie in the weight cache, so that they are read when the step is made: positions are brought inside
// of the tile, weights of a blend must be two parts of 2048. Linear rows of one type run on the CPU device's kernel. A
// row of a nearest resize that reads the same row as the one above it, and has nothing to round, is copied from there.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_range.h"
#include "devices/sd3403/exec/elementwise.h"
#include "devices/sd3403/exec/processor_step.h"

namespace hai::sd3403 {
namespace {

#define HAI_RESIZE_FAMILY(suffix, type)                                                                          \
  HAI_KERNEL_FAMILY(resize_linear_row_##suffix, void,                                                            \
                    (const type*, const type*, int32_t, const int64_t*, const int64_t*, const int32_t*, int64_t, \
                     int64_t, int32_t, float, hai_output_range, type*))
HAI_RESIZE_FAMILY(s8, int8_t);
HAI_RESIZE_FAMILY(u8, uint8_t);
HAI_RESIZE_FAMILY(s16, int16_t);
#undef HAI_RESIZE_FAMILY

struct Positions {
  std::vector<int64_t> first, second;
  std::vector<int32_t> weight;  // of the second
};

Result<Positions> read_positions(const StepSources& sources, int64_t address, int64_t count, int64_t size,
                                 bool linear) {
  HAI_TRY(const auto bytes, sources.cache.read(address, kPositionBytes * count));
  Positions out;
  for (int64_t i = 0; i < count; ++i) {
    uint16_t positions[2];
    int16_t weights[2];
    std::memcpy(positions, bytes.data() + kPositionBytes * i, sizeof positions);
    std::memcpy(weights, bytes.data() + kPositionBytes * i + 4, sizeof weights);
    if (linear && (weights[0] < 0 || weights[1] < 0 || weights[0] + weights[1] != HAI_RESIZE_ONE)) {
      return make_error(StatusCode::kInvalidArgument, "N068", "position {}: weights {} and {} must be two parts of {}",
                        i, weights[0], weights[1], HAI_RESIZE_ONE);
    }
    out.first.push_back(std::min<int64_t>(positions[0], size - 1));
    out.second.push_back(std::min<int64_t>(positions[1], size - 1));
    out.weight.push_back(weights[1]);
  }
  return out;
}

class ResizeStep : public Step {
 public:
  ResizeStep(const Resize& command, Positions rows, Positions columns, cpu::Isa isa)
      : c_(command),
        input_(input_tile(command)),
        output_(output_tile(command)),
        rows_(std::move(rows)),
        columns_(std::move(columns)),
        isa_(isa) {}

 protected:
  bool dense_output() const { return output_.pixel_stride == c_.channels * element_bytes(c_.output_type); }

  Resize c_;
  Tile input_, output_;
  Positions rows_, columns_;
  cpu::Isa isa_;
};

class NearestStep final : public ResizeStep {
 public:
  NearestStep(const Resize& command, Positions rows, Positions columns, std::optional<ElementMap> map, cpu::Isa isa)
      : ResizeStep(command, std::move(rows), std::move(columns), isa), map_(std::move(map)) {}

  void run(const StepContext& context) const override {
    const int64_t row_bytes = c_.output_columns * c_.channels * element_bytes(c_.output_type);
    cpu::parallel_range(context.threads, c_.output_rows, row_bytes, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const auto at = static_cast<size_t>(row);
        std::byte* y = context.sram + output_.row_address(row);
        if (row > begin && dense_output() && rows_.first[at] == rows_.first[at - 1]) {
          std::memcpy(y, context.sram + output_.row_address(row - 1), static_cast<size_t>(row_bytes));
          continue;
        }
        run_row(context.sram + input_.row_address(rows_.first[at]), y);
      }
    });
  }

 private:
  void run_row(const std::byte* x, std::byte* y) const {
    const auto pixel_bytes = static_cast<size_t>(c_.channels * element_bytes(c_.input_type));
    for (size_t i = 0; i < columns_.first.size(); ++i, y += output_.pixel_stride) {
      const std::byte* from = x + columns_.first[i] * input_.pixel_stride;
      if (map_) {
        map_->run(from, y, c_.channels);
      } else {
        std::memcpy(y, from, pixel_bytes);
      }
    }
  }

  std::optional<ElementMap> map_;
};

class LinearStep final : public ResizeStep {
 public:
  LinearStep(const Resize& command, Positions rows, Positions columns, cpu::Isa isa)
      : ResizeStep(command, std::move(rows), std::move(columns), isa),
        zero_(static_cast<int32_t>(command.input_zero_point)),
        multiplier_(real_of(command.multiplier)),
        out_{static_cast<int32_t>(command.zero_point), static_cast<int32_t>(command.least),
             static_cast<int32_t>(command.greatest)} {
    // From pixels to elements.
    const int64_t step = command.input_pixel_stride / element_bytes(command.input_type);
    for (int64_t& at : columns_.first) at *= step;
    for (int64_t& at : columns_.second) at *= step;
  }

  void run(const StepContext& context) const override {
    if (c_.input_type != c_.output_type) {
      run_rows(context, [&](const std::byte* top, const std::byte* bottom, int32_t weight, std::byte* y) {
        plain_row(top, bottom, weight, y);
      });
    } else if (c_.input_type == kI8) {
      run_as<int8_t>(context, resize_linear_row_s8_for(isa_));
    } else if (c_.input_type == kU8) {
      run_as<uint8_t>(context, resize_linear_row_u8_for(isa_));
    } else {
      run_as<int16_t>(context, resize_linear_row_s16_for(isa_));
    }
  }

 private:
  template <typename Row>
  void run_rows(const StepContext& context, Row&& run_row) const {
    cpu::parallel_range(context.threads, c_.output_rows, c_.output_columns * c_.channels * 4,
                        [&](int64_t begin, int64_t end) {
                          for (int64_t row = begin; row < end; ++row) {
                            const auto at = static_cast<size_t>(row);
                            run_row(context.sram + input_.row_address(rows_.first[at]),
                                    context.sram + input_.row_address(rows_.second[at]), rows_.weight[at],
                                    context.sram + output_.row_address(row));
                          }
                        });
  }

  template <typename T, typename Kernel>
  void run_as(const StepContext& context, Kernel kernel) const {
    run_rows(context, [&](const std::byte* top, const std::byte* bottom, int32_t weight, std::byte* y) {
      const bool whole = dense_output();
      const int64_t width = whole ? c_.output_columns : 1;
      for (int64_t i = 0; i < c_.output_columns; i += width) {
        const auto at = static_cast<size_t>(i);
        kernel(reinterpret_cast<const T*>(top), reinterpret_cast<const T*>(bottom), weight, &columns_.first[at],
               &columns_.second[at], &columns_.weight[at], width, c_.channels, zero_, multiplier_, out_,
               reinterpret_cast<T*>(y + i * output_.pixel_stride));
      }
    });
  }

  // Types that differ.
  void plain_row(const std::byte* top, const std::byte* bottom, int32_t weight, std::byte* y) const {
    const int64_t element = element_bytes(c_.input_type);
    const bool wide = is_wide(c_.input_type) || is_wide(c_.output_type);
    const auto value = [&](const std::byte* row, int64_t at) {
      return int64_t{load_integer(row + at * element, c_.input_type)} - zero_;
    };
    for (size_t i = 0; i < columns_.first.size(); ++i, y += output_.pixel_stride) {
      const int64_t right = columns_.weight[i];
      const int64_t left = HAI_RESIZE_ONE - right;
      for (int64_t c = 0; c < c_.channels; ++c) {
        const int64_t first = columns_.first[i] + c;
        const int64_t second = columns_.second[i] + c;
        const int64_t upper = value(top, first) * left + value(top, second) * right;
        const int64_t lower = value(bottom, first) * left + value(bottom, second) * right;
        const int64_t sum = upper * (HAI_RESIZE_ONE - weight) + lower * weight;
        const int32_t q = wide ? hai_requantize_i64(sum, multiplier_, out_)
                               : hai_requantize_i32(static_cast<int32_t>(sum), multiplier_, out_);
        store_integer(y + c * element_bytes(c_.output_type), c_.output_type, q);
      }
    }
  }

  int32_t zero_;
  float multiplier_;
  hai_output_range out_;
};

}  // namespace

Result<StepPointer> make_step(const Resize& command, const StepSources& sources) {
  const bool linear = command.interpolation == kLinear;
  HAI_TRY(Positions rows, read_positions(sources, command.row_table, command.output_rows, command.input_rows, linear));
  HAI_TRY(Positions columns,
          read_positions(sources, command.column_table, command.output_columns, command.input_columns, linear));
  std::optional<ElementMap> map;
  if (linear || command.multiplier != 0) {
    HAI_TRY_STATUS(check_zero_point("input_zero_point", command.input_zero_point, command.input_type));
    HAI_TRY_STATUS(check_multiplier("multiplier", real_of(command.multiplier)));
  }
  if (linear) {
    return StepPointer(std::make_unique<LinearStep>(command, std::move(rows), std::move(columns), sources.isa));
  }
  if (command.multiplier != 0) {
    const hai_output_range out = {static_cast<int32_t>(command.zero_point), static_cast<int32_t>(command.least),
                                  static_cast<int32_t>(command.greatest)};
    map = ElementMap::rescale(command.input_type, command.output_type, static_cast<int32_t>(command.input_zero_point),
                              real_of(command.multiplier), out, sources.isa);
  }
  return StepPointer(
      std::make_unique<NearestStep>(command, std::move(rows), std::move(columns), std::move(map), sources.isa));
}

}  // namespace hai::sd3403

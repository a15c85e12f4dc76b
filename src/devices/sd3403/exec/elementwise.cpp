// Combine: element-wise arithmetic of one or two tiles, and the maps of single elements.
//
// Method: a tile is walked in runs that lie in one piece in all of its tensors (a row where pixels follow each other,
// else the channels of a pixel), and each run goes through a kernel of the CPU device: 8-bit pairs through its vector
// loops, anything with 16 bits widened in pieces. 8-bit maps between types are tables of 256 entries. All arithmetic is
// types/arithmetic.h's. A result may lie where its operand lies; then each run is read before it is written.
#include "devices/sd3403/exec/elementwise.h"
#include "devices/sd3403/isa/curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "devices/cpu/exec/kernel_dispatch.h"
#include "devices/cpu/exec/parallel_range.h"
#include "devices/cpu/exec/rescale_kernels.h"
#include "devices/sd3403/exec/processor_step.h"
#include "types/binary_table.h"

namespace hai::sd3403 {
namespace {

HAI_KERNEL_FAMILY(hai_binary_q8, void,
                  (int32_t, const ::hai_binary_q8*, const uint8_t*, const uint8_t*, uint8_t*, int64_t, int64_t, int64_t,
                   int64_t, int, int));
HAI_KERNEL_FAMILY(hai_binary_q16, void,
                  (int32_t, const ::hai_binary_q16*, const int16_t*, const int16_t*, int16_t*, int64_t));
HAI_DOT_KERNEL_FAMILY(hai_lookup_u8, void, (const uint8_t*, const uint8_t*, uint8_t*, int64_t));

constexpr int64_t kPiece = 512;

template <typename T>
const T* typed(const std::byte* at) {
  return reinterpret_cast<const T*>(at);
}
template <typename T>
T* typed(std::byte* at) {
  return reinterpret_cast<T*>(at);
}

int32_t byte_value(int64_t byte, int64_t element) {
  return element == kI8 ? static_cast<int8_t>(byte) : static_cast<int32_t>(byte);
}

}  // namespace

Status check_zero_point(std::string_view field, int64_t zero_point, int64_t element) {
  const int64_t least = element == kI8 ? -128 : element == kU8 ? 0 : -32768;
  const int64_t greatest = element == kI8 ? 127 : element == kU8 ? 255 : 32767;
  if (zero_point >= least && zero_point <= greatest) return {};
  return make_error(StatusCode::kInvalidArgument, "N065", "{} is {}, outside of its type: {} to {}", field, zero_point,
                    least, greatest);
}

Status check_multiplier(std::string_view field, float multiplier) {
  if (hai_multiplier_usable(multiplier) != 0) return {};
  return make_error(StatusCode::kInvalidArgument, "N065", "{} is {}, outside of 2^-40 to 2^8", field, multiplier);
}

float real_of(int64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }

ElementMap ElementMap::rescale(int64_t from, int64_t to, int32_t zero_point, float multiplier, hai_output_range out,
                               cpu::Isa isa) {
  ElementMap map;
  map.from_ = from;
  map.to_ = to;
  map.isa_ = isa;
  map.zero_point_ = zero_point;
  map.multiplier_ = multiplier;
  map.out_ = out;
  if (from == to || from == kI16) {
    map.way_ = Way::kRescale;
    return map;
  }
  map.way_ = to == kI16 ? Way::kWords : Way::kBytes;
  for (int64_t byte = 0; byte < 256; ++byte) {
    const int32_t q = byte_value(byte, from);
    if (to == kI16) {
      map.words_.push_back(static_cast<int16_t>(hai_rescale_wide(q, zero_point, multiplier, out)));
    } else {
      map.bytes_.push_back(static_cast<uint8_t>(hai_rescale(q, zero_point, multiplier, out)));
    }
  }
  return map;
}

ElementMap ElementMap::table(int64_t from, int64_t to, int32_t first, std::span<const std::byte> entries,
                             cpu::Isa isa) {
  ElementMap map;
  map.from_ = from;
  map.to_ = to;
  map.isa_ = isa;
  map.first_ = first;
  const int64_t bytes = element_bytes(to);
  const int64_t last = static_cast<int64_t>(entries.size()) / bytes - 1;
  const auto entry = [&](int64_t at) {
    return load_integer(entries.data() + std::clamp<int64_t>(at, 0, last) * bytes, to);
  };
  if (from == kI16) {
    map.way_ = Way::kWideTable;
    for (int64_t i = 0; i <= last; ++i) map.words_.push_back(static_cast<int16_t>(entry(i)));
    return map;
  }
  map.way_ = to == kI16 ? Way::kWords : Way::kBytes;
  for (int64_t byte = 0; byte < 256; ++byte) {
    const int32_t value = entry(byte_value(byte, from) - first);
    if (to == kI16) {
      map.words_.push_back(static_cast<int16_t>(value));
    } else {
      map.bytes_.push_back(static_cast<uint8_t>(value));
    }
  }
  return map;
}

void ElementMap::run(const std::byte* x, std::byte* y, int64_t count) const {
  const auto* bytes = typed<uint8_t>(x);
  switch (way_) {
    case Way::kBytes:
      return hai_lookup_u8_for(isa_)(bytes_.data(), bytes, typed<uint8_t>(y), count);
    case Way::kWords:
      for (int64_t i = 0; i < count; ++i) typed<int16_t>(y)[i] = words_[bytes[i]];
      return;
    case Way::kWideTable: {
      const int32_t last = static_cast<int32_t>(words_.size()) - 1;
      for (int64_t i = 0; i < count; ++i) {
        const int32_t at = std::clamp(typed<int16_t>(x)[i] - first_, 0, last);
        const int16_t value = words_[static_cast<size_t>(at)];
        if (to_ == kI16) {
          typed<int16_t>(y)[i] = value;
        } else {
          y[i] = static_cast<std::byte>(value);
        }
      }
      return;
    }
    case Way::kRescale:
      break;
  }
  if (from_ == kI8) {
    cpu::rescale_s8_for(isa_)(typed<int8_t>(x), typed<int8_t>(y), count, zero_point_, multiplier_, out_);
  } else if (from_ == kU8) {
    cpu::rescale_u8_for(isa_)(bytes, typed<uint8_t>(y), count, zero_point_, multiplier_, out_);
  } else if (to_ == kI16) {
    cpu::rescale_s16_for(isa_)(typed<int16_t>(x), typed<int16_t>(y), count, zero_point_, multiplier_, out_);
  } else {
    cpu::rescale_s16_bytes_for(isa_)(typed<int16_t>(x), typed<uint8_t>(y), count, zero_point_, multiplier_, out_);
  }
}

namespace {

bool is_dense(const Tile& tile, int64_t channels) { return tile.pixel_stride == channels * element_bytes(tile.type); }

int32_t flip_of(int64_t element) { return element == kI8 ? 128 : 0; }

class CombineStep : public Step {
 public:
  CombineStep(const Combine& command, cpu::Isa isa)
      : rows_(command.rows),
        columns_(command.columns),
        channels_(command.channels),
        left_(left_tile(command)),
        output_(output_tile(command)),
        isa_(isa) {}

 protected:
  // Calls body(row) on the session's threads.
  template <typename Body>
  void for_rows(const StepContext& context, Body&& body) const {
    cpu::parallel_range(context.threads, rows_, columns_ * channels_ * 2, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) body(row);
    });
  }

  int64_t rows_, columns_, channels_;
  Tile left_, output_;
  cpu::Isa isa_;
};

class MapStep final : public CombineStep {
 public:
  MapStep(const Combine& command, ElementMap map, cpu::Isa isa) : CombineStep(command, isa), map_(std::move(map)) {}

  void run(const StepContext& context) const override {
    const bool whole = is_dense(left_, channels_) && is_dense(output_, channels_);
    for_rows(context, [&](int64_t row) {
      const std::byte* x = context.sram + left_.row_address(row);
      std::byte* y = context.sram + output_.row_address(row);
      if (whole) return map_.run(x, y, columns_ * channels_);
      for (int64_t i = 0; i < columns_; ++i) {
        map_.run(x + i * left_.pixel_stride, y + i * output_.pixel_stride, channels_);
      }
    });
  }

 private:
  ElementMap map_;
};

// Two tensors: add, subtract, multiply.
class PairStep : public CombineStep {
 public:
  PairStep(const Combine& command, cpu::Isa isa)
      : CombineStep(command, isa),
        right_(right_tile(command)),
        function_(command.arithmetic == kAdd        ? HAI_BINARY_add
                  : command.arithmetic == kSubtract ? HAI_BINARY_sub
                                                    : HAI_BINARY_mul),
        right_step_(command.right_repeats != 0 ? 0 : 1) {}

 protected:
  bool whole_rows() const {
    return is_dense(left_, channels_) && is_dense(output_, channels_) && is_dense(right_, channels_) &&
           right_step_ == 1;
  }

  Tile right_;
  int32_t function_;
  int right_step_;
};

class NarrowPairStep final : public PairStep {
 public:
  NarrowPairStep(const Combine& command, cpu::Isa isa) : PairStep(command, isa) {
    const int32_t flip_y = flip_of(command.output_type);
    parameters_.zero_a = static_cast<int32_t>(command.left_zero_point) + flip_of(command.left_type);
    parameters_.zero_b = static_cast<int32_t>(command.right_zero_point) + flip_of(command.right_type);
    parameters_.m_a = real_of(command.left_multiplier);
    parameters_.m_b = real_of(command.right_multiplier);
    parameters_.zero_y = static_cast<int32_t>(command.zero_point) + flip_y;
    parameters_.lo = static_cast<int32_t>(command.least) + flip_y;
    parameters_.hi = static_cast<int32_t>(command.greatest) + flip_y;
    parameters_.flip_a = static_cast<uint8_t>(flip_of(command.left_type));
    parameters_.flip_b = static_cast<uint8_t>(flip_of(command.right_type));
    parameters_.flip_y = static_cast<uint8_t>(flip_y);
  }

  void run(const StepContext& context) const override {
    const auto kernel = hai_binary_q8_for(isa_);
    const bool whole = whole_rows();
    for_rows(context, [&](int64_t row) {
      const auto* a = typed<uint8_t>(context.sram + left_.row_address(row));
      const auto* b = typed<uint8_t>(context.sram + right_.row_address(row));
      auto* y = typed<uint8_t>(context.sram + output_.row_address(row));
      if (whole) {
        kernel(function_, &parameters_, a, b, y, 1, columns_ * channels_, 0, 0, 1, 1);
      } else if (is_dense(output_, channels_)) {
        kernel(function_, &parameters_, a, b, y, columns_, channels_, left_.pixel_stride, right_.pixel_stride, 1,
               right_step_);
      } else {
        for (int64_t i = 0; i < columns_; ++i) {
          kernel(function_, &parameters_, a + i * left_.pixel_stride, b + i * right_.pixel_stride,
                 y + i * output_.pixel_stride, 1, channels_, 0, 0, 1, right_step_);
        }
      }
    });
  }

 private:
  ::hai_binary_q8 parameters_{};
};

// At least one tensor of 16 bits.
class WidePairStep final : public PairStep {
 public:
  WidePairStep(const Combine& command, cpu::Isa isa)
      : PairStep(command, isa),
        parameters_{static_cast<int32_t>(command.left_zero_point),
                    static_cast<int32_t>(command.right_zero_point),
                    real_of(command.left_multiplier),
                    real_of(command.right_multiplier),
                    static_cast<int32_t>(command.zero_point),
                    static_cast<int32_t>(command.least),
                    static_cast<int32_t>(command.greatest)} {}

  void run(const StepContext& context) const override {
    const bool whole = whole_rows();
    for_rows(context, [&](int64_t row) {
      const std::byte* a = context.sram + left_.row_address(row);
      const std::byte* b = context.sram + right_.row_address(row);
      std::byte* y = context.sram + output_.row_address(row);
      if (whole) return run_elements(a, b, y, columns_ * channels_);
      for (int64_t i = 0; i < columns_; ++i) {
        run_elements(a + i * left_.pixel_stride, b + i * right_.pixel_stride, y + i * output_.pixel_stride, channels_);
      }
    });
  }

 private:
  // `count` elements as i16: in place where they are, else in `piece`.
  static const int16_t* widened(const std::byte* from, int64_t element, int step, int64_t count, int16_t* piece) {
    if (element == kI16 && step == 1) return typed<int16_t>(from);
    for (int64_t i = 0; i < count; ++i) {
      piece[i] = static_cast<int16_t>(load_integer(from + i * step * element_bytes(element), element));
    }
    return piece;
  }

  void run_elements(const std::byte* a, const std::byte* b, std::byte* y, int64_t count) const {
    const auto kernel = hai_binary_q16_for(isa_);
    int16_t a_piece[kPiece];
    int16_t b_piece[kPiece];
    int16_t y_piece[kPiece];
    for (int64_t first = 0; first < count; first += kPiece) {
      const int64_t size = std::min(kPiece, count - first);
      const int16_t* left = widened(a + first * element_bytes(left_.type), left_.type, 1, size, a_piece);
      const int16_t* right =
          widened(b + first * right_step_ * element_bytes(right_.type), right_.type, right_step_, size, b_piece);
      const bool words = output_.type == kI16;
      int16_t* to = words ? typed<int16_t>(y) + first : y_piece;
      kernel(function_, &parameters_, left, right, to, size);
      for (int64_t i = 0; i < (words ? 0 : size); ++i) y[first + i] = static_cast<std::byte>(y_piece[i]);
    }
  }

  ::hai_binary_q16 parameters_;
};

}  // namespace

Result<StepPointer> make_step(const Combine& command, const StepSources& sources) {
  if (is_half(command)) return make_half_combine(command);
  const hai_output_range out = {static_cast<int32_t>(command.zero_point), static_cast<int32_t>(command.least),
                                static_cast<int32_t>(command.greatest)};
  if (command.arithmetic == kLookUpCurve) {
    HAI_TRY(const auto bytes, sources.cache.read(command.function_table, curve_bytes(command.function_entries)));
    const std::vector<int16_t> values = expand_curve(bytes, command.function_entries);
    std::vector<std::byte> entries;
    for (const int16_t value : values) {
      entries.push_back(static_cast<std::byte>(value));
      if (element_bytes(command.output_type) == 2) entries.push_back(static_cast<std::byte>(value >> 8));
    }
    ElementMap map = ElementMap::table(command.left_type, command.output_type,
                                       static_cast<int32_t>(command.function_first), entries, sources.isa);
    return StepPointer(std::make_unique<MapStep>(command, std::move(map), sources.isa));
  }
  if (command.arithmetic == kLookUp) {
    const int64_t bytes = command.function_entries * element_bytes(command.output_type);
    HAI_TRY(const auto entries, sources.cache.read(command.function_table, bytes));
    ElementMap map = ElementMap::table(command.left_type, command.output_type,
                                       static_cast<int32_t>(command.function_first), entries, sources.isa);
    return StepPointer(std::make_unique<MapStep>(command, std::move(map), sources.isa));
  }
  HAI_TRY_STATUS(check_zero_point("left_zero_point", command.left_zero_point, command.left_type));
  // b - a is a sum with a negative multiplier.
  const bool either_sign = command.arithmetic == kAdd || command.arithmetic == kSubtract;
  const auto magnitude = [&](int64_t bits) { return either_sign ? std::fabs(real_of(bits)) : real_of(bits); };
  HAI_TRY_STATUS(check_multiplier("left_multiplier", magnitude(command.left_multiplier)));
  if (command.arithmetic == kRescale) {
    ElementMap map =
        ElementMap::rescale(command.left_type, command.output_type, static_cast<int32_t>(command.left_zero_point),
                            real_of(command.left_multiplier), out, sources.isa);
    return StepPointer(std::make_unique<MapStep>(command, std::move(map), sources.isa));
  }
  HAI_TRY_STATUS(check_zero_point("right_zero_point", command.right_zero_point, command.right_type));
  if (command.arithmetic != kMultiply) {
    HAI_TRY_STATUS(check_multiplier("right_multiplier", magnitude(command.right_multiplier)));
  }
  if (is_wide(command.left_type) || is_wide(command.right_type) || is_wide(command.output_type)) {
    return StepPointer(std::make_unique<WidePairStep>(command, sources.isa));
  }
  return StepPointer(std::make_unique<NarrowPairStep>(command, sources.isa));
}

}  // namespace hai::sd3403

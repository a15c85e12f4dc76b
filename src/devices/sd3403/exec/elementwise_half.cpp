// Combine of f16, and between f16, f32 and integers.
//
// Plain loops with the arithmetic of types/: sums and products in f32, which is rounding once; conversions as cast,
// dequantize and quantize do them. A result may lie where its operand lies: elements are read before they are written,
// and types of two widths do not share a place.
#include <cmath>

#include "devices/cpu/exec/parallel_range.h"
#include "devices/sd3403/exec/elementwise.h"
#include "devices/sd3403/exec/half_rules.h"
#include "devices/sd3403/exec/processor_step.h"
#include "types/arithmetic.h"

namespace hai::sd3403 {
namespace {

uint16_t load_half(const std::byte* at) {
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  return bits;
}
void store_half(std::byte* at, uint16_t bits) { std::memcpy(at, &bits, sizeof bits); }

// Calls body(left, right, output) for each element of a Combine; `right` is null where there is none.
template <typename Body>
class ElementStep final : public Step {
 public:
  ElementStep(const Combine& command, Body body)
      : c_(command),
        left_(left_tile(command)),
        right_(right_tile(command)),
        output_(output_tile(command)),
        body_(std::move(body)) {}

  void run(const StepContext& context) const override {
    cpu::parallel_range(context.threads, c_.rows, c_.columns * c_.channels * 4, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) run_row(context.sram, row);
    });
  }

 private:
  void run_row(std::byte* sram, int64_t row) const {
    const bool pair = c_.arithmetic <= kMultiply;
    const int64_t a_step = element_bytes(left_.type);
    const int64_t b_step = pair && c_.right_repeats == 0 ? element_bytes(right_.type) : 0;
    const int64_t y_step = element_bytes(output_.type);
    for (int64_t i = 0; i < c_.columns; ++i) {
      const std::byte* a = sram + left_.row_address(row) + i * left_.pixel_stride;
      const std::byte* b = pair ? sram + right_.row_address(row) + i * right_.pixel_stride : a;
      std::byte* y = sram + output_.row_address(row) + i * output_.pixel_stride;
      for (int64_t c = 0; c < c_.channels; ++c) body_(a + c * a_step, b + c * b_step, y + c * y_step);
    }
  }

  Combine c_;
  Tile left_, right_, output_;
  Body body_;
};

template <typename Body>
Result<StepPointer> step_of(const Combine& command, Body body) {
  return StepPointer(std::make_unique<ElementStep<Body>>(command, std::move(body)));
}

Status check_scale(float scale) {
  if (std::isfinite(scale) && scale > 0.0F) return {};
  return make_error(StatusCode::kInvalidArgument, "N098", "left_multiplier is {}: a scale is finite and above 0",
                    scale);
}

Result<StepPointer> make_conversion(const Combine& c) {
  const bool from_integer = c.left_type <= kI16;
  const bool to_integer = c.output_type <= kI16;
  const float scale = real_of(c.left_multiplier);
  if (from_integer || to_integer) HAI_TRY_STATUS(check_scale(scale));
  const int64_t from = c.left_type;
  const int64_t to = c.output_type;
  if (from_integer) {
    HAI_TRY_STATUS(check_zero_point("left_zero_point", c.left_zero_point, c.left_type));
    const auto zero = static_cast<int32_t>(c.left_zero_point);
    return step_of(c, [from, zero, scale](const std::byte* x, const std::byte*, std::byte* y) {
      const float value = hai_dequantize(load_integer(x, from), scale, zero);
      std::memcpy(y, &value, sizeof value);
    });
  }
  if (to_integer) {
    const hai_output_range range = {static_cast<int32_t>(c.zero_point), static_cast<int32_t>(c.least),
                                    static_cast<int32_t>(c.greatest)};
    return step_of(c, [to, range, scale](const std::byte* x, const std::byte*, std::byte* y) {
      store_integer(y, to, hai_quantize(hai_f16_to_f32(load_half(x)), scale, range));
    });
  }
  if (from == kF32) {
    return step_of(c, [](const std::byte* x, const std::byte*, std::byte* y) {
      float value = 0.0F;
      std::memcpy(&value, x, sizeof value);
      store_half(y, half_of(value));
    });
  }
  if (to == kF32) {
    return step_of(c, [](const std::byte* x, const std::byte*, std::byte* y) {
      const float value = hai_f16_to_f32(load_half(x));
      std::memcpy(y, &value, sizeof value);
    });
  }
  const HalfBounds bounds = half_bounds_of(c.least, c.greatest);
  return step_of(c, [bounds](const std::byte* x, const std::byte*, std::byte* y) {
    store_half(y, half_of(bounds.apply(hai_f16_to_f32(load_half(x)))));
  });
}

}  // namespace

bool is_half(const Combine& c) {
  return c.left_type == kF16 || c.output_type == kF16 || c.left_type == kF32 || c.output_type == kF32;
}

Result<StepPointer> make_half_combine(const Combine& c) {
  if (c.arithmetic == kRescale) return make_conversion(c);
  if (c.arithmetic == kRealFunction) {
    return step_of(c, [table = half_table(real_function_of(c))](const std::byte* x, const std::byte*, std::byte* y) {
      store_half(y, (*table)[load_half(x)]);
    });
  }
  const HalfBounds bounds = half_bounds_of(c.least, c.greatest);
  const int64_t arithmetic = c.arithmetic;
  return step_of(c, [bounds, arithmetic](const std::byte* a, const std::byte* b, std::byte* y) {
    const float left = hai_f16_to_f32(load_half(a));
    const float right = hai_f16_to_f32(load_half(b));
    const float value = arithmetic == kAdd ? left + right : arithmetic == kSubtract ? left - right : left * right;
    store_half(y, half_of(bounds.apply(hai_f16_to_f32(half_of(value)))));
  });
}

}  // namespace hai::sd3403

// The unary functions by name and number, in f64, and as look-up tables of integer tensors. See unary_table.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "types/arithmetic.h"

namespace hai {

struct UnaryFunction {
  std::string_view name;
  std::string_view onnx_name;  // empty: ONNX has none
  std::string_view formula;
  int parameter_count;  // of alpha, beta
  double alpha;         // defaults
  double beta;
  double sample_low;
  double sample_high;
};

// Indexed by the enumerators of unary_table.h.
std::span<const UnaryFunction> unary_functions();
// "silu" -> its number.
std::optional<int32_t> find_unary_function(std::string_view name);

// The definition. Same bits on every machine.
double unary_f64(int32_t function, double x, double alpha, double beta);

// The derivative of a function, where it has one that is not zero everywhere (unary_gradient_table.h).
struct UnaryGradient {
  bool of_output;            // written in y = f(x), else in x
  std::string_view formula;  // "y (1 - y)"
};
std::optional<UnaryGradient> unary_gradient(int32_t function);
// f' at `v`, which is x or y as `of_output` says; 0 for functions without one. Same bits on every machine.
double unary_gradient_f64(int32_t function, double v, double alpha, double beta);

// The stored integer that stands for f(s_x * (q - z_x)): one real product, the function and one division in f64, one
// rounding.
int32_t unary_integer(int32_t function, double alpha, double beta, int32_t q, float s_x, int32_t z_x, float s_y,
                      hai_output_range out);

// The table of an 8-bit tensor: `table` has 256 entries, indexed by the byte of q as u8; `x_signed` says whether the
// byte of x is an i8. Entries are the bytes of the output.
void unary_table8(int32_t function, double alpha, double beta, bool x_signed, float s_x, int32_t z_x, float s_y,
                  hai_output_range out, std::span<uint8_t, 256> table);

}  // namespace hai

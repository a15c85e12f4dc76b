// The table of unary functions, expanded to a list, to an evaluator and to tables of stored integers.
//
// What an expression means is in unary_table.h; this file only expands it. The functions come from exact_math.h, so the
// tables have the same bits on every machine.
#include "types/unary_functions.h"

#include "types/exact_math.h"
#include "types/unary_gradient_table.h"
#include "types/unary_table.h"

namespace hai {
namespace {

double hai_clamp_unit_f64(double x) { return hai_clamp_f64(x, 0.0, 1.0) + (x != x ? x : 0.0); }

double hai_silu_gradient(double x) {
  const double s = hai_sigmoid(x);
  return s == 0.0 ? 0.0 : s * (1.0 + x * (1.0 - s));
}

// Phi(x) + x phi(x) of the normal distribution.
double hai_gelu_gradient(double x) {
  const double density = 0.3989422804014327 * hai_exp(-0.5 * x * x);
  return 0.5 * (1.0 + hai_erf(x * 0.7071067811865476)) + (density == 0.0 ? 0.0 : x * density);
}

double hai_mish_gradient(double x) {
  const double t = hai_tanh(hai_softplus(x));
  const double s = hai_sigmoid(x);
  return t + (s == 0.0 ? 0.0 : x * s * (1.0 - t * t));
}

#define HAI_ROW(name, onnx, parameters, alpha, beta, low, high, f64, f32, formula) \
  {#name, onnx, formula, parameters, alpha, beta, low, high},
constexpr UnaryFunction kFunctions[] = {HAI_UNARY_TABLE(HAI_ROW)};
#undef HAI_ROW

}  // namespace

std::span<const UnaryFunction> unary_functions() { return kFunctions; }

std::optional<int32_t> find_unary_function(std::string_view name) {
  for (int32_t i = 0; i < HAI_UNARY_COUNT; ++i) {
    if (kFunctions[i].name == name) return i;
  }
  return std::nullopt;
}

double unary_f64(int32_t function, double x, [[maybe_unused]] double a, [[maybe_unused]] double b) {
  switch (function) {
#define HAI_CASE(name, onnx, parameters, alpha, beta, low, high, f64, f32, formula) \
  case HAI_UNARY_##name:                                                            \
    return f64;
    HAI_UNARY_TABLE(HAI_CASE)
#undef HAI_CASE
    default:
      return x;
  }
}

std::optional<UnaryGradient> unary_gradient(int32_t function) {
  constexpr bool kInput = false;
  constexpr bool kOutput = true;
  switch (function) {
#define HAI_CASE(name, of, f64, f32, formula) \
  case HAI_UNARY_##name:                      \
    return UnaryGradient{of, formula};
    HAI_UNARY_GRADIENT_TABLE(HAI_CASE)
#undef HAI_CASE
    default:
      return std::nullopt;
  }
}

double unary_gradient_f64(int32_t function, [[maybe_unused]] double v, [[maybe_unused]] double a,
                          [[maybe_unused]] double b) {
  switch (function) {
#define HAI_CASE(name, of, f64, f32, formula) \
  case HAI_UNARY_##name:                      \
    return f64;
    HAI_UNARY_GRADIENT_TABLE(HAI_CASE)
#undef HAI_CASE
    default:
      return 0.0;
  }
}

int32_t unary_integer(int32_t function, double alpha, double beta, int32_t q, float s_x, int32_t z_x, float s_y,
                      hai_output_range out) {
  const double real = static_cast<double>(s_x) * static_cast<double>(q - z_x);
  return hai_store_f64(unary_f64(function, real, alpha, beta) / static_cast<double>(s_y), out);
}

void unary_table8(int32_t function, double alpha, double beta, bool x_signed, float s_x, int32_t z_x, float s_y,
                  hai_output_range out, std::span<uint8_t, 256> table) {
  for (int32_t byte = 0; byte < 256; ++byte) {
    const int32_t q = x_signed && byte >= 128 ? byte - 256 : byte;
    const int32_t y = unary_integer(function, alpha, beta, q, s_x, z_x, s_y, out);
    table[static_cast<size_t>(byte)] = static_cast<uint8_t>(y);
  }
}

}  // namespace hai

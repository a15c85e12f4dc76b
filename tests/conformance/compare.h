// Compares a device's tensor with the reference: integers with ==, floats within a fraction of the largest value.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "ops/interpreter.h"
#include "ops/reference.h"

namespace hai::conformance {

inline std::string index_text(const Dims& dims, int64_t element) {
  std::string text;
  for (int axis = dims.rank - 1; axis >= 0; --axis) {
    text = fmt::format("{}{}{}", element % dims[axis], text.empty() ? "" : ", ", text);
    element /= dims[axis];
  }
  return "[" + text + "]";
}

// The first difference in words; nothing when equal enough.
inline std::optional<std::string> first_difference(const ops::Tensor& got, const ops::Tensor& want, double tolerance) {
  if (got.dtype != want.dtype || !(got.dims == want.dims)) {
    return fmt::format("type {}{} instead of {}{}", data_type_name(got.dtype), to_string(got.dims),
                       data_type_name(want.dtype), to_string(want.dims));
  }
  const int64_t count = want.dims.count();
  if (!is_float(want.dtype)) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t a = ops::load_integer(got.view(), i);
      const int64_t b = ops::load_integer(want.view(), i);
      if (a != b) return fmt::format("element {} is {}, reference {}", index_text(want.dims, i), a, b);
    }
    return std::nullopt;
  }
  double largest = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const double b = std::fabs(ops::load_f64(want.view(), i));
    if (std::isfinite(b)) largest = std::max(largest, b);
  }
  for (int64_t i = 0; i < count; ++i) {
    const double a = ops::load_f64(got.view(), i);
    const double b = ops::load_f64(want.view(), i);
    const bool same_kind = std::isnan(a) == std::isnan(b) && (std::isfinite(b) || std::isnan(b) || a == b);
    if (same_kind && (!std::isfinite(b) || std::fabs(a - b) <= tolerance * largest)) continue;
    return fmt::format("element {} is {:.9g}, reference {:.9g}, allowed difference {:.3g}", index_text(want.dims, i), a,
                       b, tolerance * largest);
  }
  return std::nullopt;
}

}  // namespace hai::conformance

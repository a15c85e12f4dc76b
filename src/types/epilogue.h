// Epilogue: what a convolution or matrix product applies to its sums, read from the node's or instruction's attributes.
//
//   y = residual_activation(activation(acc + bias) + residual)
//
// Integers keep the rounding points of the unfused chain: acc + bias is rounded at (conv_scale, conv_zero_point) when a
// table activation follows, and at (pre_residual_scale, pre_residual_zero_point) when a residual does; a clamp shares
// the scale of what it clamps and adds no rounding. These two points have the output's type, or i16 where conv_bits or
// pre_residual_bits is 16: a value that is looked up or added at once may be kept finer than what is stored. Shared by
// the operators' references and the devices.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "types/arithmetic.h"
#include "types/data_type.h"

namespace hai {

// The attributes of graph nodes and of program instructions have this same type.
using AttributeMap =
    std::map<std::string, std::variant<int64_t, double, std::string, std::vector<int64_t>, std::vector<double>>,
             std::less<>>;

struct Activation {
  // none is a clamp without bounds.
  double lo = -std::numeric_limits<double>::infinity();
  double hi = std::numeric_limits<double>::infinity();
  int32_t function = -1;  // number of a unary function (types/unary_table.h); -1: a clamp
  double alpha = 0.0;
  double beta = 0.0;

  bool is_clamp() const { return function < 0; }
  bool is_none() const {
    return is_clamp() && lo == -std::numeric_limits<double>::infinity() &&
           hi == std::numeric_limits<double>::infinity();
  }
};

struct RoundingPoint {
  float scale = 1.0F;
  int32_t zero_point = 0;
  bool wide = false;  // held in i16 whatever the output's type

  DataType dtype(DataType output) const { return wide ? DataType::kI16 : output; }
};

struct Epilogue {
  Activation activation;
  Activation residual_activation;
  std::optional<RoundingPoint> conv;          // in front of a table activation
  std::optional<RoundingPoint> pre_residual;  // in front of the residual addition
  bool fixed_point = false;  // sum + bias is rounded as TensorFlow Lite does (hai_requantize_fixed_point)
};

// Checks kinds, names and bounds; says nothing about types. Absent attributes mean none.
Result<Epilogue> parse_epilogue(const AttributeMap& attributes);

// The attribute "rounding": half_even (default) or fixed_point.
Result<bool> parse_fixed_point(const AttributeMap& attributes);

// What an integer epilogue of an output of type `y` needs beyond parse_epilogue: rounding points present and within
// their integer type, scales positive, a residual where one is spoken of, a clamp after the residual, and nothing of
// i16 under fixed_point.
Status check_integer_epilogue(const Epilogue& epilogue, bool has_residual, DataType y);

// The integer bounds of a clamp at (scale, zero_point), inside `full`.
hai_output_range clamp_range(const Activation& activation, float scale, hai_output_range full);

// The function in f64; a clamp lets NaN through.
double apply_activation(const Activation& activation, double x);

}  // namespace hai

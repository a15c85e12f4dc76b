// Reading an epilogue from attributes and turning its clamps into integer bounds.
//
// Attributes: activation ("none", "relu", "relu6", "clip" with activation_lo and activation_hi, or a unary function
// with activation_alpha and activation_beta), residual_activation likewise, conv_scale, conv_zero_point,
// pre_residual_scale, pre_residual_zero_point, conv_bits, pre_residual_bits, rounding. They may come from a hostile
// file: every kind and range is checked.
#include "types/epilogue.h"

#include <cmath>

#include "types/unary_functions.h"

namespace hai {
namespace {

const AttributeMap::mapped_type* find(const AttributeMap& attributes, const std::string& key) {
  const auto it = attributes.find(key);
  return it == attributes.end() ? nullptr : &it->second;
}

Result<double> number(const AttributeMap& attributes, const std::string& key, double fallback) {
  const auto* attribute = find(attributes, key);
  if (attribute == nullptr) return fallback;
  if (const auto* integer = std::get_if<int64_t>(attribute)) return static_cast<double>(*integer);
  const auto* value = std::get_if<double>(attribute);
  if (value == nullptr || std::isnan(*value)) {
    return make_error(StatusCode::kInvalidArgument, "T001", "attribute '{}' must be a number", key);
  }
  return *value;
}

Result<Activation> parse_activation(const AttributeMap& attributes, const std::string& prefix) {
  Activation out;
  const auto* attribute = find(attributes, prefix);
  if (attribute == nullptr) return out;
  const auto* name = std::get_if<std::string>(attribute);
  if (name == nullptr) {
    return make_error(StatusCode::kInvalidArgument, "T002", "attribute '{}' must be the name of a function", prefix);
  }
  if (*name == "none") return out;
  if (*name == "relu" || *name == "relu6") {
    out.lo = 0.0;
    if (*name == "relu6") out.hi = 6.0;
    return out;
  }
  if (*name == "clip") {
    HAI_TRY(out.lo, number(attributes, prefix + "_lo", out.lo));
    HAI_TRY(out.hi, number(attributes, prefix + "_hi", out.hi));
    if (out.lo > out.hi) {
      return make_error(StatusCode::kInvalidArgument, "T003", "{}_lo {} is above {}_hi {}: swap them", prefix, out.lo,
                        prefix, out.hi);
    }
    return out;
  }
  const std::optional<int32_t> function = find_unary_function(*name);
  if (!function) {
    return make_error(StatusCode::kUnsupported, "T004",
                      "{} '{}' is no function that HAI knows: none, relu, relu6, clip or an element-wise operator "
                      "(`hai ops` lists them)",
                      prefix, *name);
  }
  out.function = *function;
  const UnaryFunction& known = unary_functions()[static_cast<size_t>(*function)];
  HAI_TRY(out.alpha, number(attributes, prefix + "_alpha", known.alpha));
  HAI_TRY(out.beta, number(attributes, prefix + "_beta", known.beta));
  return out;
}

Result<std::optional<RoundingPoint>> parse_point(const AttributeMap& attributes, const std::string& prefix) {
  const bool has_scale = find(attributes, prefix + "_scale") != nullptr;
  if (!has_scale && find(attributes, prefix + "_zero_point") == nullptr) return std::optional<RoundingPoint>{};
  HAI_TRY(const double scale, number(attributes, prefix + "_scale", 0.0));
  HAI_TRY(const double zero_point, number(attributes, prefix + "_zero_point", 0.0));
  const auto rounded = static_cast<float>(scale);
  const bool whole = std::abs(zero_point) <= 65536.0 && zero_point == std::floor(zero_point);
  if (!(rounded > 0.0F) || !std::isfinite(rounded) || !whole) {
    return make_error(StatusCode::kInvalidArgument, "T005",
                      "{}_scale {} and {}_zero_point {} must be a positive number and an integer of the type", prefix,
                      scale, prefix, zero_point);
  }
  HAI_TRY(const double bits, number(attributes, prefix + "_bits", 0.0));
  if (find(attributes, prefix + "_bits") != nullptr && bits != 16.0) {
    return make_error(StatusCode::kInvalidArgument, "T009",
                      "{}_bits is {}: a rounding point has the output's type, or 16 bits", prefix, bits);
  }
  return std::optional<RoundingPoint>{RoundingPoint{rounded, static_cast<int32_t>(zero_point), bits == 16.0}};
}

Status check_point(const std::optional<RoundingPoint>& point, std::string_view name, DataType y) {
  const DataType held = point ? point->dtype(y) : y;
  const int64_t least = integer_min(held);
  const int64_t greatest = integer_max(held);
  if (point && point->zero_point >= least && point->zero_point <= greatest) return {};
  return make_error(StatusCode::kInvalidArgument, "T006",
                    "an integer node with this epilogue needs {}_scale and {}_zero_point (within {} to {}): the scale "
                    "at which the unfused graph rounds",
                    name, name, least, greatest);
}

}  // namespace

Result<Epilogue> parse_epilogue(const AttributeMap& attributes) {
  Epilogue out;
  HAI_TRY(out.activation, parse_activation(attributes, "activation"));
  HAI_TRY(out.residual_activation, parse_activation(attributes, "residual_activation"));
  HAI_TRY(out.conv, parse_point(attributes, "conv"));
  HAI_TRY(out.pre_residual, parse_point(attributes, "pre_residual"));
  HAI_TRY(out.fixed_point, parse_fixed_point(attributes));
  return out;
}

Result<bool> parse_fixed_point(const AttributeMap& attributes) {
  const auto* attribute = find(attributes, "rounding");
  if (attribute == nullptr) return false;
  const auto* name = std::get_if<std::string>(attribute);
  if (name != nullptr && (*name == "half_even" || *name == "fixed_point")) return *name == "fixed_point";
  return make_error(StatusCode::kInvalidArgument, "T008", "attribute 'rounding' must be half_even or fixed_point");
}

Status check_integer_epilogue(const Epilogue& epilogue, bool has_residual, DataType y) {
  if (!epilogue.activation.is_clamp()) HAI_TRY_STATUS(check_point(epilogue.conv, "conv", y));
  if (has_residual) HAI_TRY_STATUS(check_point(epilogue.pre_residual, "pre_residual", y));
  const bool wide = bit_width(y) == 16 || (epilogue.conv && epilogue.conv->wide) ||
                    (epilogue.pre_residual && epilogue.pre_residual->wide);
  if (epilogue.fixed_point && wide) {
    return make_error(StatusCode::kUnsupported, "T010",
                      "rounding fixed_point is TensorFlow Lite's of 8-bit values: it has no results or rounding points "
                      "of 16 bits");
  }
  if (!epilogue.residual_activation.is_clamp()) {
    return make_error(StatusCode::kUnsupported, "T007",
                      "an integer node takes none, relu, relu6 or clip as residual_activation; give the function a "
                      "node of its own");
  }
  return {};
}

hai_output_range clamp_range(const Activation& activation, float scale, hai_output_range full) {
  hai_output_range out = full;
  out.lo = hai_store_f64(activation.lo / static_cast<double>(scale), full);
  out.hi = hai_store_f64(activation.hi / static_cast<double>(scale), full);
  return out;
}

double apply_activation(const Activation& activation, double x) {
  if (!activation.is_clamp()) return unary_f64(activation.function, x, activation.alpha, activation.beta);
  if (x < activation.lo) return activation.lo;
  return x > activation.hi ? activation.hi : x;
}

}  // namespace hai

// Fields of commands that say something about f16.
#pragma once

#include "devices/sd3403/isa/command.h"
#include "types/half.h"
#include "types/unary_functions.h"

namespace hai::sd3403 {

float real_of(int64_t bits);  // processor_step.h

// Bounds are the 16 bits of an f16.
inline HalfBounds half_bounds_of(int64_t least, int64_t greatest) {
  return {hai_f16_to_f32(static_cast<uint16_t>(least)), hai_f16_to_f32(static_cast<uint16_t>(greatest))};
}

// The function that real_function names, with its parameters. Choices have the names of unary functions.
template <typename Body>
Activation real_function_of(const Body& c) {
  Activation out;
  out.function = *find_unary_function(choices_of("real_function")[static_cast<size_t>(c.real_function)]);
  out.alpha = static_cast<double>(real_of(c.real_alpha));
  out.beta = static_cast<double>(real_of(c.real_beta));
  return out;
}

}  // namespace hai::sd3403

// f16 tensors: narrowing an f32 sum, functions of an f16 as tables, and what follows a sum of products.
//
// docs/reference/arithmetic.md, "f16". Products of two f16 are exact in f32; a sum starts from its bias and takes one
// product after the other, each addition rounded to f32, so that a fused multiply-add gives the same bits. Every step
// behind the sum rounds to f16 as the operator of that name does on its own: a fused node equals its chain.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "types/epilogue.h"
#include "types/float_format.h"

namespace hai {

// The nearest f16, half to even; a NaN becomes 0x7e00. As hai_f64_to_f16, without leaving f32.
inline uint16_t half_of(float x) {
  hai_f32_bits f;
  f.value = x;
  const uint32_t sign = (f.bits >> 16) & 0x8000U;
  const uint32_t magnitude = f.bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return 0x7e00U;
  if (magnitude >= 0x477ff000U) return static_cast<uint16_t>(sign | 0x7c00U);  // 65520 and above
  if (magnitude < 0x38800000U) {  // below 2^-14: the unit in the last place of 0.5 is 2^-24, so that the sum rounds
    f.bits = magnitude;
    f.value += 0.5F;
    return static_cast<uint16_t>(sign | (f.bits - 0x3f000000U));
  }
  const uint32_t odd = (magnitude >> 13) & 1U;
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000U + 0xfffU + odd) >> 13));
}

// The results of a function for every f16, by its bits: the f64 formula, rounded once. NaN gives NaN.
using HalfTable = std::vector<uint16_t>;
// Tables are shared while anyone has them. Thread-safe.
std::shared_ptr<const HalfTable> half_table(const Activation& activation);

// x below lo becomes lo, above hi hi; zeros of either sign stay, NaN passes.
struct HalfBounds {
  float lo = -std::numeric_limits<float>::infinity();
  float hi = std::numeric_limits<float>::infinity();

  float apply(float x) const { return x < lo ? lo : x > hi ? hi : x; }
  bool none() const {
    return lo == -std::numeric_limits<float>::infinity() && hi == std::numeric_limits<float>::infinity();
  }
};
// A clamp's bounds, rounded to f16. Precondition: is_clamp().
HalfBounds half_bounds(const Activation& clamp);

// f16(sum), bounds, function, f16(that + residual), bounds.
struct HalfEpilogue {
  HalfBounds first, last;
  std::shared_ptr<const HalfTable> function;  // null: none

  HalfEpilogue() = default;
  HalfEpilogue(const Activation& activation, const Activation& residual_activation);
  // `residual` null: none. `out` may be `residual`.
  void run(const float* sums, const uint16_t* residual, uint16_t* out, int64_t count) const;
};

void widen_halves(const uint16_t* from, float* to, int64_t count);

}  // namespace hai

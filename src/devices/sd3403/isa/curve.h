// Curves: tables of smooth functions of 16-bit integers in a sixth of their bytes, without loss.
//
// A curve is pieces of kCurvePiece entries, each a line, and a correction of every entry:
//   entry i = clamp_i16(start[p] + ((rise[p] * r + kCurvePiece / 2) >> 6) + correction[i]),  p = i / 64, r = i % 64,
// with an arithmetic shift. In memory: for each piece i16 start, i16 rise; then two bits a correction (-2 to 1), entry
// 4 k in the low bits of byte k, for all entries of all pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/checked.h"

namespace hai::sd3403 {

inline constexpr int64_t kCurvePiece = 64;

constexpr int64_t curve_bytes(int64_t entries) {
  const int64_t pieces = ceil_div(entries, kCurvePiece);
  return pieces * (4 + kCurvePiece / 4);
}

// None where a correction or a rise would not fit its bits.
std::optional<std::vector<std::byte>> encode_curve(std::span<const int16_t> entries);

// Precondition: `bytes` has curve_bytes(entries).
std::vector<int16_t> expand_curve(std::span<const std::byte> bytes, int64_t entries);

}  // namespace hai::sd3403

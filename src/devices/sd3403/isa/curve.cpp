// Lines between the ends of pieces, and what is left.
//
// Encoding takes the line from a piece's first entry to the next piece's; a smooth function leaves it by its second
// derivative times h^2 / 8, less than two steps of 16-bit functions.
#include "devices/sd3403/isa/curve.h"

#include <algorithm>
#include <cstring>

namespace hai::sd3403 {
namespace {

constexpr int kShift = 6;
constexpr int64_t kPieceBytes = 4;
constexpr int32_t kLeastCorrection = -2;
constexpr int32_t kMostCorrection = 1;

int32_t line(int32_t start, int32_t rise, int64_t at) {
  return start + ((rise * static_cast<int32_t>(at) + (1 << (kShift - 1))) >> kShift);
}

}  // namespace

std::optional<std::vector<std::byte>> encode_curve(std::span<const int16_t> entries) {
  const auto count = static_cast<int64_t>(entries.size());
  const int64_t pieces = ceil_div(count, kCurvePiece);
  std::vector<std::byte> out(static_cast<size_t>(curve_bytes(count)));
  const auto entry = [&](int64_t i) { return int32_t{entries[static_cast<size_t>(std::min(i, count - 1))]}; };
  for (int64_t p = 0; p < pieces; ++p) {
    const int64_t first = p * kCurvePiece;
    const int32_t start = entry(first);
    // A last piece that is not whole rises as far as it goes.
    const int64_t length = std::min(kCurvePiece, std::max<int64_t>(count - 1 - first, 1));
    const int32_t rise =
        (entry(first + length) - start) * static_cast<int32_t>(kCurvePiece) / static_cast<int32_t>(length);
    if (rise < INT16_MIN || rise > INT16_MAX) return std::nullopt;
    const auto stored_start = static_cast<int16_t>(start);
    const auto stored_rise = static_cast<int16_t>(rise);
    std::memcpy(out.data() + p * kPieceBytes, &stored_start, sizeof stored_start);
    std::memcpy(out.data() + p * kPieceBytes + 2, &stored_rise, sizeof stored_rise);
    for (int64_t i = first; i < std::min(first + kCurvePiece, count); ++i) {
      const int32_t correction = entry(i) - line(start, rise, i - first);
      if (correction < kLeastCorrection || correction > kMostCorrection) return std::nullopt;
      std::byte& at = out[static_cast<size_t>(pieces * kPieceBytes + i / 4)];
      at |= static_cast<std::byte>((static_cast<unsigned>(correction) & 3U) << (2 * (i % 4)));
    }
  }
  return out;
}

std::vector<int16_t> expand_curve(std::span<const std::byte> bytes, int64_t entries) {
  const int64_t pieces = ceil_div(entries, kCurvePiece);
  std::vector<int16_t> out(static_cast<size_t>(entries));
  for (int64_t i = 0; i < entries; ++i) {
    int16_t start = 0;
    int16_t rise = 0;
    std::memcpy(&start, bytes.data() + i / kCurvePiece * kPieceBytes, sizeof start);
    std::memcpy(&rise, bytes.data() + i / kCurvePiece * kPieceBytes + 2, sizeof rise);
    const auto bits =
        static_cast<unsigned>(bytes[static_cast<size_t>(pieces * kPieceBytes + i / 4)]) >> (2 * (i % 4)) & 3U;
    const int32_t correction = bits >= 2 ? static_cast<int32_t>(bits) - 4 : static_cast<int32_t>(bits);
    const int32_t value = line(start, rise, i % kCurvePiece) + correction;
    out[static_cast<size_t>(i)] = static_cast<int16_t>(std::clamp<int32_t>(value, INT16_MIN, INT16_MAX));
  }
  return out;
}

}  // namespace hai::sd3403

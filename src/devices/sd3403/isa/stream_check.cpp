// CRC-24 by tables of eight bytes.
//
// The generator is that of OpenPGP (0x864cfb, RFC 4880), with bits reflected, since streams count bits from the least
// significant: x + 1 divides it, so that every odd number of wrong bits is seen, and any two up to 2^23 - 1 bits apart.
// A program is read with every stream checked, so speed counts; a byte at a time would take 15 ms of a YOLOv5s.
#include <array>

#include "devices/sd3403/isa/stream_coding.h"

namespace hai::sd3403 {
namespace {

constexpr uint32_t kGenerator = 0xdf3261;  // 0x864cfb with its 24 bits reversed
constexpr uint32_t kInitial = 0x7320ed;    // 0xb704ce, likewise

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables kTables = [] {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1 ^ ((remainder & 1U) != 0 ? kGenerator : 0U);
    tables[0][byte] = remainder;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (size_t t = 1; t < tables.size(); ++t) {
      const uint32_t before = tables[t - 1][byte];
      tables[t][byte] = before >> 8 ^ tables[0][before & 0xffU];
    }
  }
  return tables;
}();

}  // namespace

uint32_t stream_check(std::span<const std::byte> stored) {
  uint32_t crc = kInitial;
  size_t i = 0;
  const auto byte = [&](size_t at) { return std::to_integer<uint32_t>(stored[at]); };
  for (; i + 8 <= stored.size(); i += 8) {
    crc ^= byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16;
    crc = kTables[7][crc & 0xffU] ^ kTables[6][crc >> 8 & 0xffU] ^ kTables[5][crc >> 16] ^ kTables[4][byte(i + 3)] ^
          kTables[3][byte(i + 4)] ^ kTables[2][byte(i + 5)] ^ kTables[1][byte(i + 6)] ^ kTables[0][byte(i + 7)];
  }
  for (; i < stored.size(); ++i) crc = crc >> 8 ^ kTables[0][(crc ^ byte(i)) & 0xffU];
  return crc;
}

uint32_t stream_form_word(StreamForm form, std::span<const std::byte> stored) {
  return static_cast<uint32_t>(form) | stream_check(stored) << 8;
}

}  // namespace hai::sd3403

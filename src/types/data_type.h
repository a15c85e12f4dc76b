// DataType: the element types of HAI tensors, their widths and their names (the same in C, C++, Python, files and the
// text form).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace hai {

// Values are written into .hai files: never renumber.
enum class DataType : uint8_t {
  kF64 = 0,
  kF32 = 1,
  kF16 = 2,
  kBF16 = 3,
  kI64 = 4,
  kI32 = 5,
  kI16 = 6,
  kI8 = 7,
  kI4 = 8,
  kU64 = 9,
  kU32 = 10,
  kU16 = 11,
  kU8 = 12,
  kU4 = 13,
  kBool = 14,  // one byte, 0 or 1
};
inline constexpr int kDataTypeCount = 15;

// Width in bits: 4 for the packed nibbles (two a byte, low nibble first), 8 for bool.
constexpr int bit_width(DataType type) {
  constexpr int8_t kBits[kDataTypeCount] = {64, 32, 16, 16, 64, 32, 16, 8, 4, 64, 32, 16, 8, 4, 8};
  return kBits[static_cast<int>(type)];
}

// Bytes that `count` elements occupy; nibbles round up to a whole byte. Precondition: count >= 0 and the product fits.
constexpr int64_t bytes_for(DataType type, int64_t count) { return (count * bit_width(type) + 7) / 8; }

constexpr bool is_float(DataType type) { return type <= DataType::kBF16; }
constexpr bool is_signed_integer(DataType type) { return type >= DataType::kI64 && type <= DataType::kI4; }
constexpr bool is_unsigned_integer(DataType type) { return type >= DataType::kU64 && type <= DataType::kU4; }
constexpr bool is_integer(DataType type) { return is_signed_integer(type) || is_unsigned_integer(type); }

// "f32", "i8", "bool", ...
std::string_view data_type_name(DataType type);
std::optional<DataType> data_type_from_name(std::string_view name);

// Smallest and largest value of an integer type of at most 32 bits (i64 values). Precondition: is_integer and bit_width
// <= 32.
constexpr int64_t integer_min(DataType type) {
  return is_signed_integer(type) ? -(int64_t{1} << (bit_width(type) - 1)) : 0;
}
constexpr int64_t integer_max(DataType type) {
  return is_signed_integer(type) ? (int64_t{1} << (bit_width(type) - 1)) - 1 : (int64_t{1} << bit_width(type)) - 1;
}

}  // namespace hai

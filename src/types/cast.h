// The element-wise conversion of operator cast, stated once for the reference and the devices.
//
// To a float: rounded once, half to even. Float to integer: towards zero, clamped to the type, NaN gives 0. Integer to
// integer: the low bits. To bool: 1 unless zero (NaN is 1).
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

namespace hai {

// bool tensors hold one byte, 0 or 1.
struct BoolByte {
  uint8_t value;
};

template <typename To, typename From>
To cast_element(From x) {
  if constexpr (std::is_same_v<From, BoolByte>) {
    return cast_element<To>(static_cast<int32_t>(x.value != 0 ? 1 : 0));
  } else if constexpr (std::is_same_v<To, BoolByte>) {
    return {static_cast<uint8_t>(x == From{0} ? 0 : 1)};
  } else if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To>) {
    // 2^digits is exact in any float type and the first value that does not fit.
    const From limit = static_cast<From>(uint64_t{1} << (std::numeric_limits<To>::digits - 1)) * From{2};
    if (x != x) return 0;
    if (x >= limit) return std::numeric_limits<To>::max();
    if constexpr (std::is_signed_v<To>) {
      if (x < -limit) return std::numeric_limits<To>::min();
    } else {
      if (x <= From{0}) return 0;
    }
    return static_cast<To>(x);
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace hai

// Names of the element types.
//
// One table, both directions. The order is that of the enumeration, which files depend on.
#include "types/data_type.h"

namespace hai {
namespace {
constexpr std::string_view kNames[kDataTypeCount] = {"f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8",
                                                     "i4",  "u64", "u32", "u16",  "u8",  "u4",  "bool"};
}

std::string_view data_type_name(DataType type) {
  const auto index = static_cast<int>(type);
  return index < kDataTypeCount ? kNames[index] : std::string_view("?");
}

std::optional<DataType> data_type_from_name(std::string_view name) {
  for (int i = 0; i < kDataTypeCount; ++i) {
    if (kNames[i] == name) return static_cast<DataType>(i);
  }
  return std::nullopt;
}

}  // namespace hai

// Flags by their names in a list that commas separate: which augmentations are on.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>

namespace hai::data {

struct NamedFlag {
  std::string_view name;
  bool* flag;
};

// Sets the flag of each name in `text`. The first part that is no name, or that is set already, where there is one.
inline std::optional<std::string_view> set_named_flags(std::string_view text, std::span<const NamedFlag> names) {
  for (bool more = true; more;) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    more = comma < text.size();
    text.remove_prefix(more ? comma + 1 : comma);
    const auto found = std::find_if(names.begin(), names.end(), [&](const NamedFlag& one) { return one.name == part; });
    if (found == names.end() || *found->flag) return part;
    *found->flag = true;
  }
  return std::nullopt;
}

}  // namespace hai::data
